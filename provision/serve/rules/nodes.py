"""Nodes and devices: addresses, counts, whole modules (S01, S03, S19)."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator

from provision.accel.ascend.container import split_modules
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, warn


def addresses(layout: Layout) -> Iterator[Violation]:
    """S01: ranks on several nodes need every node's own IPv4 address."""
    for site in layout.sites:
        if not site.address and layout.nodes > 1:
            yield fail(
                "S01",
                f"{site.node}: no data address is known, and ranks on {layout.nodes} nodes must reach each other",
                "rank arithmetic",
                "set qnext.data_address of the host to the IPv4 address its ranks use",
            )
        elif site.address and not _is_ipv4(site.address):
            yield fail(
                "S01",
                f"{site.node}: data address {site.address} is no IPv4 address",
                "HCCL_IF_IP and vLLM's rendezvous take an address",
                "set qnext.data_address of the host to the IPv4 address its ranks use",
            )


def distinct_addresses(layout: Layout) -> Iterator[Violation]:
    """S01: an address belongs to one node."""
    counts = Counter(site.address for site in layout.sites if site.address)
    for address, count in counts.items():
        if count > 1:
            names = ", ".join(site.node for site in layout.sites if site.address == address)
            yield fail(
                "S01", f"{names} have the same data address {address}", "inventory", "correct qnext.data_address"
            )


def enough_devices(layout: Layout) -> Iterator[Violation]:
    """S03: the ranks of a node fit its devices."""
    needed, available = layout.devices_needed, layout.devices_available
    if needed <= available:
        return
    poorest = min(layout.sites, key=lambda site: len(site.devices))
    yield fail(
        "S03",
        f"{_ranks(layout)} need {needed} devices a node, but {poorest.node} has {available}",
        "one rank takes one device (on A3: one die)",
    )


def whole_modules(layout: Layout) -> Iterator[Violation]:
    """S19: A3 hands out the two dies of a module together."""
    for site in layout.sites:
        split = split_modules(site.devices, layout.accelerator.module_size)
        if split:
            first = split[0]
            yield fail(
                "S19",
                f"{site.node}: device {first} without {first ^ 1} is half a module",
                "MindCluster scheduling affinity: A3 jobs take whole modules (dies 2k and 2k+1)",
                f"put {first ^ 1} into qnext.devices too, or take {first} out",
            )


def idle_devices(layout: Layout) -> Iterator[Violation]:
    """S03: devices that are left over, where the operator named the devices."""
    if layout.accelerator.default_devices and layout.head.devices and layout.devices_needed < len(layout.head.devices):
        yield warn(
            "S03",
            f"{layout.devices_needed} of the {len(layout.head.devices)} devices in qnext.devices are used a node",
            "arithmetic of ranks",
            "raise tensor_parallel_size or data_parallel_size, or name fewer devices",
        )


def _is_ipv4(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 4
    except ValueError:
        return False


def _ranks(layout: Layout) -> str:
    sizes = {"tensor": layout.tp, "pipeline": layout.pp, "data": layout.dp}
    named = [f"{kind} parallel {size}" for kind, size in sizes.items() if size > 1 or kind == "tensor"]
    return " x ".join(named) + (f" over {layout.nodes} nodes" if layout.nodes > 1 else "")


ADDRESS_RULES: tuple[Rule, ...] = (addresses, distinct_addresses)
"""Rules for when the sites are final. Before a node is touched, its address may be unknown or a name that ssh uses."""

RULES: tuple[Rule, ...] = (enough_devices, whole_modules, idle_devices)
