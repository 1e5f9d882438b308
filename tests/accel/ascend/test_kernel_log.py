"""Which lines of the kernel's log tell of an NPU's trouble."""

from __future__ import annotations

import pytest

from provision.accel.ascend.kernel_log import KernelLine, parse_kernel_log

OFF = "[drv_pcie] [devdrv_sync_non_trans_msg_send 1239] <kworker/u385:0:15> Device is abnormal. (dev_id=5; type=3)"


def error(line: str) -> KernelLine:
    (found,) = parse_kernel_log(line).errors
    return found


def test_a_card_that_fell_off_its_bus() -> None:
    line = error(f"[  456.343559] [ascend] {OFF}\n")
    assert (line.module, line.function, line.device, line.seconds, line.time) == (
        "drv_pcie",
        "devdrv_sync_non_trans_msg_send",
        5,
        456.343559,
        None,
    )
    assert line.message == "Device is abnormal. (dev_id=5; type=3)"


@pytest.mark.parametrize(
    ("prefix", "time"),
    [
        ("[Wed Aug  2 03:36:43 2022] ", "Wed Aug  2 03:36:43 2022"),
        ("Aug  2 03:36:43 node1 kernel: [  456.343559] ", "Aug  2 03:36:43"),
        ("2026-08-02T03:36:43.123456+08:00 node1 kernel: ", "2026-08-02T03:36:43.123456+08:00"),
        ("[2025-04-16-03:08:13.818489] ", "2025-04-16-03:08:13.818489"),
    ],
)
def test_times(prefix: str, time: str) -> None:
    assert error(f"{prefix}[ascend] {OFF}").time == time


@pytest.mark.parametrize(
    "line",
    [
        "[ascend] [devmm] [devmm_svm_release_proc 617] <davinci_recycle:42400> Devmm release create work. (hostpid=-1)",
        "[ascend] [INFO] [devdrv] [x 1] reset of failed device done",
        "[ascend] [drv_pcie] [x 1] init done. (error=0)",
        "python3[123]: segfault at 0 error 4 in libc.so",
        "EXT4-fs error (device sda1): bad block",
    ],
)
def test_what_is_no_error_of_an_npu(line: str) -> None:
    assert parse_kernel_log(line).errors == ()


def test_lines_are_counted_and_a_refusal_is_told() -> None:
    read = parse_kernel_log(
        f"[ascend] {OFF}\n[ascend] [devmm] [x 1] hello\ndmesg: read kernel buffer failed: Operation not permitted\n"
    )
    assert (len(read.errors), read.lines) == (1, 2)
    assert read.problems == ("dmesg: read kernel buffer failed: Operation not permitted",)
