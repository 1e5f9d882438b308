"""All NPUs are there, and the kernel and npu-smi agree about them.

Counted by device nodes and by ``npu-smi info -m``; more than a standard server of the family has is fine: an A2 Box16
has 16, not 8 [domain 1.1]. A card that has dropped off the bus is missing in one or both, or has lost its rows in the
table of ``npu-smi info``, which leaves out what it cannot read [samples/npu FIELDS, Health]; the PCI bus tells whether
the hardware is gone or only its driver. It fails the check where the layout or the inventory wants the card, and is a
warning where the layout does with the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.accel.ascend.container import split_modules
from provision.accel.ascend.npu_smi import Die, missing_dies
from provision.accel.protocol import accelerator
from provision.checks.base import Finding
from provision.checks.support import (
    NPU_FACTS,
    Skip,
    absent,
    ascend,
    bus_address,
    devices,
    listed,
    mapping,
    named,
    npu_smi,
    numbered,
    per_node,
    span,
    together,
    without,
)
from provision.facts.base import Fact
from provision.facts.pci import Pci
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "N05"
LEVEL = "fail"
SCOPE = "cluster"

applies = ascend

_LOOK = "npu-smi info -m; ls /dev/davinci*; lspci | grep -i d80; dmesg -T | grep -i -E 'drv|pcie'"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, Pci()


def run(cluster: Cluster) -> Iterable[Finding]:
    return per_node(cluster, lambda node: _check(node, _sharing(cluster, node)))


def _sharing(cluster: Cluster, node: Node) -> int:
    """Nodes that share a group's ranks with this one, and it."""
    return sum(together(other) == together(node) for other in cluster.nodes)


def _check(node: Node, nodes: int) -> Iterator[Finding]:
    there = set(devices(node).devices)
    if not there:
        yield Finding(
            f"no /dev/davinciN device: the driver has made none{_on_the_bus(node, there)}",
            f"reboot, or load the driver; see {_LOOK}",
            node=node.name,
            expected="/dev/davinci0 and so on",
            observed="none",
        )
        return
    needed = _needed(node.settings, nodes, len(there))
    yield from _declared(node, there, needed)
    yield from _agreement(node, there, needed)


def _needed(settings: Settings, nodes: int, there: int) -> int:
    """Devices that the layout takes on each node, in whole modules; of replicas as many as are wanted, or fit."""
    serve, size = settings.serve, accelerator(settings.hardware).module_size
    ranks = serve.tensor_parallel_size * serve.pipeline_parallel_size * serve.data_parallel_size
    each = -(-ranks // (nodes * size)) * size
    return each * (serve.replicas_per_node or max(1, there // each)) if serve.topology == "replicas" else each


def _declared(node: Node, there: set[int], needed: int) -> Iterator[Finding]:
    """What the inventory wants is there; without a wish, what a standard server has."""
    declared = node.settings.devices
    kind = accelerator(node.settings.hardware)
    wanted = kind.default_devices if declared is None else declared
    gone = absent(node)
    if not gone:
        return
    usable = sorted(there - set(split_modules(sorted(there), kind.module_size)))
    bus = _on_the_bus(node, there)
    card = "reseat or replace it" if "nor on" in bus else "reboot or replace it"
    hint = (
        f"a dead or unloaded card: {_LOOK}, then {card}; to go without: qnext.devices: {usable}"
        if declared is None
        else f"correct qnext.devices of this host to some of {usable}, or see {_LOOK}"
    )
    yield Finding(
        f"davinci {span(gone)} missing: {len(wanted) - len(gone)} of {len(wanted)} NPU devices are there{bus}",
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
    odd = (chips ^ there) - set(absent(node))
    declared = node.settings.devices
    taken = set(declared) if declared is not None else set(sorted(there)[:needed])
    yield from _left_out(node, there, taken, needed)
    if chips and odd:
        yield Finding(
            f"npu-smi and /dev disagree about davinci {span(odd)}",
            f"a card came or went since the driver was loaded: {_LOOK}, then reboot",
            node=node.name,
            expected=f"/dev: {span(there)}",
            observed=f"npu-smi: {span(chips)}",
            level="warn" if len(taken) >= needed and taken <= chips & there else "fail",
        )


def _left_out(node: Node, there: set[int], taken: set[int], needed: int) -> Iterator[Finding]:
    """Dies that the driver maps and that the table of ``npu-smi info`` doesn't show."""
    chips = missing_dies(npu_smi(node).dies, mapping(node).chips)
    lost = {
        chip.device: chip for chip in chips if chip.device is not None and chip.device in there - set(numbered(node))
    }
    if not lost:
        return
    first = lost[min(lost)]
    yield Finding(
        f"{named(node, lost)}: not in the table of npu-smi info, which leaves out a die that it cannot read",
        f"`npu-smi info -t health -i {first.npu} -c {first.chip}`; {_LOOK}; reboot, and replace the card if it stays "
        f"so; to go without: {without(node, lost)}",
        node=node.name,
        expected=f"npu-smi info: {span(there)}",
        observed=f"npu-smi info: {span(set(numbered(node)) & there)}",
        level="warn" if len(taken) >= needed and not taken & lost.keys() else "fail",
    )


def _on_the_bus(node: Node, there: set[int]) -> str:
    """What the PCI bus says of the devices that are missing, for the end of a sentence; empty where it can't."""
    bus = node.get(Pci()).devices
    bound = {bus_address(die.bus_id) for number, die in _table(node).items() if number in there} - {""}
    loose = [device.address for device in bus if bus_address(device.address) not in bound]
    if not bus or len(bound) < len(there) or len(loose) + len(bound) > len(bus):
        return ""
    return f", and on the PCI bus at {listed(loose)} without its driver" if loose else ", nor on the PCI bus"


def _table(node: Node) -> dict[int, Die]:
    """The dies of ``npu-smi info`` by number; none where it has no table."""
    try:
        return numbered(node)
    except Skip:
        return {}
