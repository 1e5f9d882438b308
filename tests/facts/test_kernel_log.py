"""Lines of NPU drivers in the kernel's log: with times, without, refused, and too many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.facts.kernel_log import KernelLog

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
