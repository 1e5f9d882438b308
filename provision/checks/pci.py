"""The NPUs that the driver has are on the PCI bus, and those on the bus have their device.

A card that fell off the bus often keeps its ``/dev/davinciN`` until the next reboot: work sent there hangs. One that is
on the bus without a device was not taken up by the driver. Compared by the bus address of each die in ``npu-smi info``;
device nodes that are missing are the check ``npu_count``'s matter, which looks at the bus too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks.base import Finding
from provision.checks.support import (
    NPU_FACTS,
    Skip,
    absent,
    ascend,
    bus_address,
    devices,
    listed,
    look,
    named,
    numbered,
    selected,
    span,
    without,
)
from provision.facts.base import Fact
from provision.facts.pci import Pci, PciValue
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N33"
LEVEL = "fail"
SCOPE = "node"

applies = ascend

_LOOK = "lspci -D -d 19e5:; dmesg -T | grep -i -E 'pcie|drv'"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, Pci()


def run(node: Node) -> Iterable[Finding]:
    there, bus = devices(node).devices, look(node, Pci())
    if not there:
        raise Skip("no /dev/davinciN")
    if not bus.devices:
        raise Skip(next(iter(bus.problems), "the PCI bus shows no NPU at all: it cannot be looked at from here"))
    addresses = {number: bus_address(die.bus_id) for number, die in numbered(node).items() if number in there}
    shown = {bus_address(device.address) for device in bus.devices}
    if all(addresses.values()) and len(addresses) == len(there) and shown & set(addresses.values()):
        yield from _fallen(node, bus, addresses)
        yield from _loose(node, bus, addresses)
    elif len(bus.devices) < len(there):
        yield _fewer(bus, there)


def _fallen(node: Node, bus: PciValue, addresses: dict[int, str]) -> Iterator[Finding]:
    shown = {bus_address(device.address) for device in bus.devices}
    gone = {number: at for number, at in addresses.items() if at not in shown and number in selected(node)}
    if gone:
        yield Finding(
            f"{named(node, gone)}: fell off the PCI bus, its device node is still there",
            f"{_LOOK}; power the node off and on, then reseat or replace the card; to go without: "
            f"{without(node, gone)}",
            expected=f"{listed(list(gone.values()))} on the bus",
            observed=f"{len(bus.devices)} NPUs on the bus, {len(addresses)} in /dev",
        )


def _loose(node: Node, bus: PciValue, addresses: dict[int, str]) -> Iterator[Finding]:
    """On the bus without a device, where no device is missing of those that are wanted."""
    loose = [d.address for d in bus.devices if bus_address(d.address) not in addresses.values()]
    if len(bus.devices) > len(addresses) and loose and not absent(node):
        yield Finding(
            f"{len(loose)} NPUs on the PCI bus have no device node: {listed(loose)}",
            f"{_LOOK}; reboot if these are to be used; the driver tells there why it did not take them up",
            expected="a /dev/davinciN each",
            observed=f"/dev: davinci {span(addresses)}",
            level="warn",
        )


def _fewer(bus: PciValue, there: tuple[int, ...]) -> Finding:
    """The table has no addresses of this bus (a container, a virtual machine), so that only the number can tell."""
    return Finding(
        f"the PCI bus shows {len(bus.devices)} NPUs, /dev has {len(there)}: {len(there) - len(bus.devices)} fell off",
        f"{_LOOK} and `npu-smi info` tell which; power the node off and on, then reseat or replace the card",
        expected=f"{len(there)} NPUs on the bus",
        observed=f"{len(bus.devices)}",
    )
