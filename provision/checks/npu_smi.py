"""The Ascend driver's tool ``npu-smi`` is there and answers.

On a node with nothing of a driver this is the one check that says so; the other NPU checks then skip. What of its table
could not be read is a warning: a row that is cut off or of a new form may hide a die or a process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, bare, hanging, listed
from provision.diagnose.catalogue import explain
from provision.facts.base import Fact
from provision.facts.npu_smi import NpuSmi
from provision.facts.pci import Pci
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N04"
LEVEL = "fail"
SCOPE = "node"

applies = ascend

_UNREAD = re.compile(r"row is cut off:|not understood:|memory could not be read|listed twice|second row is missing")
"""Problems of the table that no other check tells: health, counts and the process table are theirs."""


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, Pci()


def run(node: Node) -> Iterable[Finding]:
    value = node.get(NpuSmi())
    if bare(node):
        yield _no_driver(node)
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
    elif unread := [problem for problem in value.problems if _UNREAD.search(problem)]:
        yield Finding(
            f"{value.binary} info could not be read in full: {listed(unread, 2)}",
            f"run `{value.binary} info` on the node; if its table is whole: save it, and see what "
            "`qnext-provision parse npu-smi-info FILE` makes of it",
            expected="two rows for every die",
            observed=listed(unread, 6),
            level="warn",
        )


def _no_driver(node: Node) -> Finding:
    """Cards on the PCI bus tell a machine without a driver from one without NPUs."""
    bus = node.get(Pci()).devices
    cards = f"; the PCI bus shows {len(bus)} NPUs, as {bus[0].address}" if bus else ""
    other = "" if bus else "; on a machine without NPUs set qnext.hardware: cpu"
    return Finding(
        f"no Ascend driver on this node: no npu-smi, no /dev/davinci*, no driver files{cards}",
        f"install the Ascend HDK driver and firmware and reboot{other}",
        expected=f"hardware {node.settings.hardware}",
        observed=f"{len(bus)} NPUs without a driver" if bus else "no NPU",
    )


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
