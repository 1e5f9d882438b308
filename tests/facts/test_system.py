"""System facts against what Python knows of this machine."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import pytest

from provision.facts.system import Boot, Clock, Cpu, Identity, Memory, Os
from provision.results import Result


def read(path: str) -> str:
    """A file of the kernel; empty where there is none."""
    return Path(path).read_text() if os.path.exists(path) else ""


def test_os(look: Any) -> None:
    value = look(Os())
    assert (value.arch, value.kernel, value.hostname) == (platform.machine(), platform.release(), platform.node())
    assert value.id == platform.freedesktop_os_release()["ID"]
    assert value.problems == ()


def test_os_release_with_quotes() -> None:
    text = 'Linux atlas-1 5.10.0-136.12.0.86.oe2203sp1.aarch64 aarch64\nID="openEuler"\nVERSION_ID="22.03"\n'
    value = Os().parse(Result("os", 0, text))
    assert (value.id, value.version, value.arch, value.hostname) == ("openEuler", "22.03", "aarch64", "atlas-1")


def test_cpu(look: Any) -> None:
    value = look(Cpu())
    assert value.count == os.sysconf("SC_NPROCESSORS_ONLN")
    assert value.load1 is not None
    assert value.problems == ()


def test_cpu_of_an_arm_server() -> None:
    text = "load=1.50 1.20 1.00 2/3000 77\ncount=192\nimplementer= 0x48\nCPU part= 0xd01\n"
    value = Cpu().parse(Result("cpu", 0, text))
    assert (value.count, value.model, value.load1) == (192, "TaiShan v110 (Kunpeng 920)", 1.5)


def test_memory(look: Any) -> None:
    value = look(Memory())
    assert value.total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < value.available <= value.total
    if os.path.ismount("/dev/shm"):
        room = os.statvfs("/dev/shm")
        assert value.shm_size == room.f_blocks * room.f_frsize
        assert 0 <= value.shm_used <= value.shm_size
    chosen = re.search(r"\[(\w+)\]", read("/sys/kernel/mm/transparent_hugepage/enabled"))
    assert value.thp == (chosen[1] if chosen else "")
    assert value.problems == ()


def test_hugepages_are_counted_and_their_size_is_in_bytes() -> None:
    text = "MemTotal: 100 kB\nHugePages_Total:       8\nHugePages_Free:        6\nHugepagesize:       2048 kB\n"
    value = Memory().parse(Result("memory", 0, text))
    assert (value.hugepages_total, value.hugepages_free, value.hugepage_size) == (8, 6, 2097152)


MEMORY = """\
MemTotal:       2113928 kB
SwapTotal:      16384 kB
SwapFree:       12288 kB
/sys/kernel/mm/transparent_hugepage/enabled:[always] madvise never
/sys/kernel/mm/transparent_hugepage/defrag:always defer defer+madvise [madvise] never
@@ shm
Filesystem     1024-blocks     Used Available Capacity Mounted on
tmpfs               524288     1024    523264       1% /dev/shm
"""


def test_swap_shared_memory_and_transparent_huge_pages() -> None:
    value = Memory().parse(Result("memory", 0, MEMORY))
    assert value.swap_used == 4096 * 1024
    assert (value.shm_size, value.shm_used) == (512 * 2**20, 2**20)
    assert (value.thp, value.thp_defrag) == ("always", "madvise")


def test_a_shm_that_is_no_mount_of_its_own_is_not_measured() -> None:
    value = Memory().parse(Result("memory", 0, MEMORY.replace("% /dev/shm", "% /")))
    assert (value.shm_size, value.shm_used) == (None, None)
    assert Memory().parse(Result("memory", 0, "MemTotal: 1 kB\n@@ shm\n")).swap_used is None


def test_clock(look: Any) -> None:
    before = time.time()
    value = look(Clock())
    assert int(before) <= value.epoch <= time.time() + 0.01
    assert value.problems == ()


def test_clock_of_a_date_without_fractions() -> None:
    assert Clock().parse(Result("clock", 0, "1795501239.%N +0800 CST\n")).epoch == 1795501239.0


@pytest.mark.parametrize(
    ("told", "when"), [("1795501239.25", (7.0, 8.5)), ("1795501239.%N", (6.0, 8.5))], ids=["fine", "whole seconds"]
)
def test_clock_knows_when_it_was_told(told: str, when: tuple[float, float]) -> None:
    assert Clock().parse(Result("clock", 0, f"{told} +0800 CST\n", when=(7.0, 8.5))).when == when


def test_clock_names_the_time_service() -> None:
    text = "1795501239.5 +0800 CST\n/run/chrony/chronyd.pid\n/usr/share/zoneinfo/Asia/Shanghai\n"
    value = Clock().parse(Result("clock", 0, text))
    assert (value.service, value.timezone, value.utc_offset) == ("chronyd", "Asia/Shanghai", "+0800")


def test_identity(look: Any) -> None:
    value = look(Identity(), SUDO_USER="operator")
    assert (value.uid, value.root, value.login) == (os.getuid(), os.getuid() == 0, "operator")


def test_boot(look: Any) -> None:
    value = look(Boot())
    assert len(value.boot_id) == 36
    assert abs(value.uptime - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
