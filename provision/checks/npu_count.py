"""All NPUs are there, and the kernel and npu-smi agree about them.

Counted by device nodes and by ``npu-smi info -m``; more than a standard server of the family has is fine: an A2 Box16
has 16, not 8 [domain 1.1]. A card that has dropped off the bus is missing in one or both. It fails the check where the
layout or the inventory wants it, and is a warning where the layout does with the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.accel.ascend.container import split_modules
from provision.accel.protocol import accelerator
from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, Skip, absent, ascend, devices, mapping, numbered, per_node, span
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "N05"
LEVEL = "fail"
SCOPE = "cluster"

applies = ascend

_LOOK = "npu-smi info -m; ls /dev/davinci*; lspci | grep -i d80; dmesg -T | grep -i -E 'drv|pcie'"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(cluster: Cluster) -> Iterable[Finding]:
    return per_node(cluster, lambda node: _check(node, len(cluster.nodes)))


def _check(node: Node, nodes: int) -> Iterator[Finding]:
    there = set(devices(node).devices)
    if not there:
        yield Finding(
            "no /dev/davinciN device: the driver has made none",
            f"reboot, or load the driver; see {_LOOK}",
            node=node.name,
            expected="/dev/davinci0 and so on",
            observed="none",
        )
        return
    needed = _needed(node.settings, nodes)
    yield from _declared(node, there, needed)
    yield from _agreement(node, there, needed)


def _needed(settings: Settings, nodes: int) -> int:
    """Devices that the layout takes on each node, in whole modules."""
    serve, size = settings.serve, accelerator(settings.hardware).module_size
    ranks = serve.tensor_parallel_size * serve.pipeline_parallel_size * serve.data_parallel_size
    return -(-ranks // (nodes * size)) * size


def _declared(node: Node, there: set[int], needed: int) -> Iterator[Finding]:
    """What the inventory wants is there; without a wish, what a standard server has."""
    declared = node.settings.devices
    kind = accelerator(node.settings.hardware)
    wanted = kind.default_devices if declared is None else declared
    gone = absent(node)
    if not gone:
        return
    usable = sorted(there - set(split_modules(sorted(there), kind.module_size)))
    hint = (
        f"a dead or unloaded card: {_LOOK}, then reboot or replace it; to go without: qnext.devices: {usable}"
        if declared is None
        else f"correct qnext.devices of this host to some of {usable}, or see {_LOOK}"
    )
    yield Finding(
        f"davinci {span(gone)} missing: {len(wanted) - len(gone)} of {len(wanted)} NPU devices are there",
        hint,
        node=node.name,
        expected=f"davinci {span(wanted)}",
        observed=f"davinci {span(there)}",
        level="warn" if declared is None and len(usable) >= needed else "fail",
    )


def _agreement(node: Node, there: set[int], needed: int) -> Iterator[Finding]:
    try:
        chips = {chip.device for chip in mapping(node).chips if chip.device is not None} or set(numbered(node))
    except Skip:
        return
    odd = chips ^ there
    declared = node.settings.devices
    taken = set(declared) if declared is not None else set(sorted(there)[:needed])
    if chips and odd:
        yield Finding(
            f"npu-smi and /dev disagree about davinci {span(odd)}",
            f"a card came or went since the driver was loaded: {_LOOK}, then reboot",
            node=node.name,
            expected=f"/dev: {span(there)}",
            observed=f"npu-smi: {span(chips)}",
            level="warn" if len(taken) >= needed and taken <= chips & there else "fail",
        )
