"""An error of the NPU driver in the kernel's log."""

from __future__ import annotations

from typing import Any

from provision.accel.ascend.kernel_log import KernelLine
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    node.alter("kernel-log", errors=(KernelLine("icm send msg failed", "icm send msg failed", seconds=863000.0),))
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="the NPU driver reported an error .*icm send msg failed",
    faults={"dmesg/npu": "1"},
)
