"""npu-smi on a node: found or not, hanging, refusing, and who holds the dies."""

from __future__ import annotations

import os
import pwd
import shlex
import time
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
    assert holder.user == pwd.getpwuid(os.getuid()).pw_name
    assert holder.age is not None
    assert holder.started is not None
    assert 0 <= time.time() - holder.started - holder.age < 60
    assert value.problems == ()


def test_the_holders_container() -> None:
    box = "ab" * 32
    assert NpuSmi().parse(held(f"0::/docker/{box}")).holders == (
        Holder(
            77, "root", "VLLM::Worker", box, age=400, started=1_000_000 - 400, runtime="docker", state="S", parent=1
        ),
    )


def held(cgroup: str, *, user: str = "root 0", args: str = "VLLM::Worker") -> Result:
    """What the probe answers of a process that began 400 s ago: 600 s after boot, which was 1000 s ago."""
    stat = "77 (VLLM) Worker) S 1 " + "0 " * 17 + "60000 0 0"
    lines = ["@@ binary /usr/local/bin/npu-smi", "@@ info 0", "@@ clock", "up 1000.0 100 1000000", "@@ pid 77", user]
    return Result("npu-smi", 0, "\n".join([*lines, stat, args, cgroup, ""]))


BOX = "0123456789ab" + "cd" * 26
CGROUPS = {
    "docker, cgroup v2": (f"0::/system.slice/docker-{BOX}.scope", "docker", "docker stop 0123456789ab"),
    "docker, cgroup v1": (f"12:pids:/docker/{BOX}\n1:name=systemd:/docker/{BOX}", "docker", "docker stop 0123456789ab"),
    "podman": (f"0::/machine.slice/libpod-{BOX}.scope/container", "podman", "podman stop 0123456789ab"),
    "nerdctl": (f"0::/system.slice/nerdctl-{BOX}.scope", "containerd", "nerdctl stop 0123456789ab"),
    "pod": (f"0::/kubepods.slice/pod1.slice/cri-containerd-{BOX}.scope", "kubernetes", "crictl stop 0123456789ab"),
    "unknown": (f"0::/lxc/{BOX}", "", "docker stop 0123456789ab"),
    "none": ("0::/user.slice/user-0.slice/session-3.scope", "", "kill 77"),
}


@pytest.mark.parametrize(("cgroup", "runtime", "release"), CGROUPS.values(), ids=CGROUPS)
def test_how_a_die_is_released(cgroup: str, runtime: str, release: str) -> None:
    [holder] = NpuSmi().parse(held(cgroup)).holders
    assert (holder.runtime, holder.release) == (runtime, release)


def test_a_service_is_named_but_only_its_process_is_ended() -> None:
    [holder] = NpuSmi().parse(held("0::/system.slice/train@3.service")).holders
    assert (holder.unit, holder.release) == ("train@3.service", "kill 77")


def test_a_user_that_only_the_container_knows() -> None:
    [holder] = NpuSmi().parse(held("0::/", user="UNKNOWN 1001")).holders
    assert holder.user == "uid 1001"


def test_keys_on_the_command_line_stay_on_the_node() -> None:
    args = "vllm serve m --api-key sk-1 --hf-token=hf_2 --tokenizer /t --max-num-batched-tokens 8192 --password x"
    [holder] = NpuSmi().parse(held("0::/", args=args)).holders
    assert holder.args == (
        "vllm serve m --api-key *** --hf-token=*** --tokenizer /t --max-num-batched-tokens 8192 --password ***"
    )


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


@pytest.mark.parametrize("status", [124, 143])
def test_a_hanging_tool(look: Any, tool: Any, status: int) -> None:
    tool("timeout", f"exit {status}\n")
    tool("npu-smi", "exit 0\n")
    assert look(NpuSmi()).problems == ("npu-smi hangs: no answer within 30 s",)


def test_mapping(look: Any, tool: Any) -> None:
    tool("npu-smi", f"printf '{MAPPING}'\n")
    value = look(NpuSmiMapping())
    assert [(chip.npu, chip.device, chip.name) for chip in value.chips] == [(0, 0, "Ascend 910B4")]
    assert (value.controllers, value.problems) == (1, ())
