"""npu-smi on a node: found or not, hanging, refusing, and who holds the dies."""

from __future__ import annotations

import os
import shlex
from typing import Any

import pytest

from provision.facts.npu_smi import Holder, NpuSmi, NpuSmiMapping
from provision.results import Result

TABLE = """\
| npu-smi 25.2.0                   Version: 25.2.0 |
| NPU   Name | Health | Power(W) Temp(C) Hugepages-Usage(page)|
| Chip | Bus-Id | AICore(%) Memory-Usage(MB) HBM-Usage(MB) |
| 0     910B4 | OK | 87.2 33 0 / 0 |
| 0 | 0000:C1:00.0 | 0 0 / 0 30654 / 32768 |
| NPU     Chip | Process id | Process name | Process memory(MB) |
| 0       0 | {pid} | python | 17400 |
"""
MAPPING = "\\tNPU ID  Chip ID  Chip Logic ID  Chip Name\\n\\t0  0  0  Ascend 910B4\\n\\t0  1  -  Mcu\\n"


def test_a_busy_die_and_its_holder(look: Any, tool: Any) -> None:
    binary = tool("npu-smi", f"printf %s {shlex.quote(TABLE.format(pid=os.getpid()))}\n")
    value = look(NpuSmi())
    assert value.binary == str(binary)
    assert (value.driver_version, value.dies[0].health, value.processes[0].pid) == ("25.2.0", "OK", os.getpid())
    [holder] = value.holders
    assert holder.pid == os.getpid()
    assert "python" in holder.args
    assert value.problems == ()


def test_the_holders_container() -> None:
    box = "ab" * 32
    text = f"@@ binary /usr/local/bin/npu-smi\n@@ info 0\n@@ pid 77\nroot\nVLLM::Worker\n0::/docker/{box}\n"
    assert NpuSmi().parse(Result("npu-smi", 0, text)).holders == (Holder(77, "root", "VLLM::Worker", box),)


def test_without_the_tool(look: Any) -> None:
    value = look(NpuSmi())
    if value.binary is not None:
        pytest.skip("this machine has npu-smi")
    assert value.problems == ("npu-smi was found neither in PATH nor in /usr/local/bin or /usr/local/sbin",)


def test_a_refusal_is_explained(look: Any, tool: Any) -> None:
    tool("npu-smi", "echo 'dcmi module initialize failed. ret is -8005'; exit 187\n")
    value = look(NpuSmi())
    assert value.dies == ()
    assert value.problems[0] == "npu-smi ended with exit status 187"
    assert "inner error: no access to /dev/davinci*" in value.problems[1]


def test_a_hanging_tool(look: Any, tool: Any) -> None:
    tool("timeout", "exit 124\n")
    tool("npu-smi", "exit 0\n")
    assert look(NpuSmi()).problems == ("npu-smi hangs: no answer within 30 s",)


def test_mapping(look: Any, tool: Any) -> None:
    tool("npu-smi", f"printf '{MAPPING}'\n")
    value = look(NpuSmiMapping())
    assert [(chip.npu, chip.device, chip.name) for chip in value.chips] == [(0, 0, "Ascend 910B4")]
    assert (value.controllers, value.problems) == (1, ())
