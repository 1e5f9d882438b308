"""Lines of NPU drivers in the kernel's log: with times, without, refused, and too many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.accel.ascend.kernel_log import KernelLine
from provision.facts.kernel_log import KernelLog, KernelLogValue

LINE = "[ascend] [ERROR] [devdrv] [imu_notifier 173] Get mntn message. (dev_id=3; exception_id=0xa6193215)"


@dataclass(frozen=True, slots=True)
class KernelLogBelow(KernelLog):
    """The same script with another /var/log."""

    folder: str = ""

    def script(self) -> str:
        return KernelLog.script(self).replace("/var/log", self.folder)


def test_times_of_day_where_dmesg_can(look: Any, tool: Any) -> None:
    tool("dmesg", f'[ "$1" = -T ] && t=\'Sun Aug  2 03:36:43 2026\'\necho "[$t] eth0: up"\necho "[$t] {LINE}"\n')
    value = look(KernelLog())
    (error,) = value.errors
    assert (value.source, value.lines, value.more, value.problems) == ("dmesg", 1, False, ())
    assert (error.device, error.code, error.time) == (3, "0xa6193215", "Sun Aug  2 03:36:43 2026")


def test_busybox_has_no_times_of_day(look: Any, tool: Any) -> None:
    tool("dmesg", f"[ $# = 0 ] || exit 1\necho '[  456.343559] {LINE}'\n")
    assert look(KernelLog()).errors[0].seconds == 456.343559


def test_the_last_lines_count(look: Any, tool: Any) -> None:
    tool("dmesg", f"for n in 1 2 3 4; do echo '[    '$n'.000000] {LINE}'; done\n")
    value = look(KernelLog(2))
    assert ([error.seconds for error in value.errors], value.more) == ([3.0, 4.0], True)


def test_a_quiet_log(look: Any, tool: Any) -> None:
    tool("dmesg", "echo '[    1.000000] Linux version 5.10'\n")
    value = look(KernelLog())
    assert (value.source, value.errors, value.lines, value.problems) == ("dmesg", (), 0, ())


def test_where_dmesg_is_refused_a_log_file_is_read(look: Any, tool: Any, tmp_path: Path) -> None:
    tool("dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1\n")
    (tmp_path / "kern.log").write_bytes(b"\x00\xff\nAug  2 03:36:43 node1 kernel: " + LINE.encode() + b"\n")
    value = look(KernelLogBelow(folder=str(tmp_path)))
    assert (value.source, len(value.errors)) == (str(tmp_path / "kern.log"), 1)
    assert value.problems == ("dmesg gives nothing: dmesg: read kernel buffer failed: Operation not permitted",)


def test_neither(look: Any, tool: Any, tmp_path: Path) -> None:
    tool("dmesg", "echo 'dmesg: klogctl: Operation not permitted' >&2; exit 1\n")
    value = look(KernelLogBelow(folder=str(tmp_path / "none")))
    assert (value.source, value.lines) == (None, 0)
    assert value.problems == ("dmesg gives nothing: dmesg: klogctl: Operation not permitted",)


def test_what_the_kernel_ended_for_lack_of_memory(look: Any, tool: Any) -> None:
    tool(
        "dmesg",
        """\
[ "$1" = -T ] && exit 1
echo '[    1.000000] Out of memory: Killed process 48123 (VLLM::Worker_TP) total-vm:812kB, anon-rss:401kB'
echo '[    2.500000] Memory cgroup out of memory: Killed process 7 (python3), UID 0, total-vm:812kB'
""",
    )
    value = look(KernelLog())
    assert [(k.pid, k.name, k.limit, k.seconds) for k in value.kills] == [
        (48123, "VLLM::Worker_TP", False, 1.0),
        (7, "python3", True, 2.5),
    ]
    assert (value.errors, value.lines) == ((), 0)
    assert value.uptime is not None
    assert value.age(value.kills[0]) == max(0.0, value.uptime - 1.0)


@pytest.mark.parametrize(
    ("seconds", "time", "age"),
    [
        (990.0, None, 10.0),
        (None, "Thu Jan  1 11:59:30 2026", 30.0),
        (None, "Jan  1 11:59:30", 30.0),
        (None, "Dec 31 12:00:00", 86400.0),
        (None, "2026-01-01T11:00:00.123+08:00", 3600.0),
        (None, "Feb 30 11:59:30", None),
        (None, "Xyz  1 11:59:30", None),
        (None, None, None),
    ],
)
def test_how_long_ago_a_line_was_written(seconds: float | None, time: str | None, age: float | None) -> None:
    value = KernelLogValue("dmesg", now="2026-01-01T12:00:00", uptime=1000.0)
    assert value.age(KernelLine("x", "x", seconds=seconds, time=time)) == age


def test_without_a_clock_nobody_knows() -> None:
    value = KernelLogValue("dmesg")
    lines = [KernelLine("x", "x", seconds=1.0), KernelLine("x", "x", time="Jan  1 11:59:30")]
    assert [value.age(line) for line in lines] == [None, None]
