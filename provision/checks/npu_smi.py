"""The Ascend driver's tool ``npu-smi`` is there and answers.

On a node with nothing of a driver this is the one check that says so; the other NPU checks then skip.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, bare, hanging
from provision.diagnose.catalogue import explain
from provision.facts.base import Fact
from provision.facts.npu_smi import NpuSmi
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N04"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(node: Node) -> Iterable[Finding]:
    value = node.get(NpuSmi())
    if bare(node):
        yield Finding(
            "no Ascend driver on this node: no npu-smi, no /dev/davinci*, no driver files",
            "install the Ascend HDK driver and firmware and reboot; on a machine without NPUs set qnext.hardware: cpu",
            expected=f"hardware {node.settings.hardware}",
            observed="no NPU",
        )
    elif value.binary is None:
        yield Finding(
            "npu-smi is neither in /usr/local/bin nor in /usr/local/sbin",
            "reinstall the Ascend driver: npu-smi comes with it",
            expected="/usr/local/bin/npu-smi",
            observed="missing",
        )
    elif hung := hanging(value.problems):
        yield Finding(
            f"{value.binary} info hangs: {hung.removeprefix('npu-smi hangs: ')}",
            f"run `{value.binary} info` on the node; a driver that hangs needs a reboot, see dmesg -T | grep -i drv",
            expected="an answer within 30 s",
            observed=hung,
        )
    elif not value.dies:
        yield _silent(value.binary, value.problems)


def _silent(binary: str, problems: tuple[str, ...]) -> Finding:
    """The tool ran and shows nothing: its own words where they are known, else what is known of its end."""
    known = explain("\n".join(problems))
    said = next((problem for problem in problems if known and known.signature.search(problem)), "")
    said = said or next(iter(problems), "its table holds no NPU")
    return Finding(
        f"{binary} info fails: {said}",
        known.remedy if known else f"run `{binary} info` as root on the node; after a driver upgrade reboot",
        expected="a table of NPUs",
        observed="; ".join(problems),
    )
