"""Nodes and devices: addresses, counts, whole modules (S01, S03, S19)."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence

from provision.accel.ascend.container import split_modules
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, Together, fail, warn


def addresses(layout: Layout) -> Iterator[Violation]:
    """S01: ranks on several nodes need every node's own IPv4 address [HCCL_IF_IP, CANN manual; vLLM's rendezvous]."""
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


def declared_addresses(layout: Layout) -> Iterator[Violation]:
    """S01: an address that the inventory gives belongs to one host: one in the vars of a group goes to all of it
    [rank arithmetic]."""
    pairs = zip(layout.sites, layout.settings, strict=True)
    hosts: dict[str, list[str]] = {}
    for site, settings in pairs:
        if settings.data_address:
            hosts.setdefault(str(settings.data_address), []).append(site.node)
    for address, names in hosts.items():
        if len(names) > 1:
            yield fail(
                "S01",
                f"qnext.data_address {address} is given to {', '.join(names[:4])}{' and more' * (len(names) > 4)}",
                "rank arithmetic: each node is reached at its own address",
                "set data_address below each host, not for a group; or leave it out, to be found on the node",
            )


def distinct_addresses(layout: Layout) -> Iterator[Violation]:
    """S01: an address belongs to one node, declared or found [rank arithmetic]."""
    pairs = list(zip(layout.sites, layout.settings, strict=True))
    counts = Counter(site.address for site in layout.sites if site.address)
    for address, count in counts.items():
        declared = all(settings.data_address for site, settings in pairs if site.address == address)
        if count > 1 and not declared:
            names = ", ".join(site.node for site in layout.sites if site.address == address)
            reason = f"{names} have the same data address {address}"
            yield fail("S01", reason, "rank arithmetic", "set qnext.data_address of each host")


def enough_devices(layout: Layout) -> Iterator[Violation]:
    """S03: the ranks of a node fit its devices [one rank takes one device]."""
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
    """S19: A3 hands out the two dies of a module together [MindCluster scheduling affinity]."""
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


def idle_devices(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S03: devices that are left over, where the operator named the devices [arithmetic of ranks]."""
    if not layout.accelerator.default_devices:
        return
    used = Counter[str]()
    for group in groups:
        for site in group.sites:
            used[site.node] += group.devices_needed
    for site, settings in zip(layout.sites, layout.settings, strict=True):
        if settings.devices and used[site.node] < len(settings.devices):
            yield warn(
                "S03",
                f"{used[site.node]} of the {len(settings.devices)} devices in qnext.devices are used a node",
                "arithmetic of ranks",
                "raise tensor_parallel_size or data_parallel_size, or name fewer devices",
            )
            return


def shared_modules(layout: Layout) -> Iterator[Violation]:
    """S19: a server of one die shares a module with the next one, each in a container of its own [MindCluster
    scheduling affinity; vllm-ascend external DP runs all ranks of a node in one container]."""
    size = layout.accelerator.module_size
    ranks = layout.tp * layout.pp * layout.context_parallel
    sees_all = layout.head.install.privileged or layout.head.install.method == "source"
    if layout.topology == "external-dp" and ranks % size and layout.dp > 1 and not sees_all:
        yield warn(
            "S19",
            f"servers of {ranks} device{'s' * (ranks > 1)} share modules of {size}, which A3 hands out whole",
            "MindCluster scheduling affinity; vllm-ascend runs all external ranks of a node in one container",
            "set install.privileged: true, so that each sees whole modules, or an even tensor_parallel_size",
        )


def _is_ipv4(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).version == 4
    except ValueError:
        return False


def _ranks(layout: Layout) -> str:
    sizes = {"tensor": layout.tp, "pipeline": layout.pp, "context": layout.context_parallel, "data": layout.dp}
    named = [f"{kind} parallel {size}" for kind, size in sizes.items() if size > 1 or kind == "tensor"]
    return " x ".join(named) + (f" over {layout.nodes} nodes" if layout.nodes > 1 else "")


ADDRESS_RULES: tuple[Rule, ...] = (addresses, distinct_addresses)
"""Rules for when the sites are final. Before a node is touched, its address may be unknown or a name that ssh uses."""

WHOLE: tuple[Rule, ...] = (declared_addresses, whole_modules)
RULES: tuple[Rule, ...] = (enough_devices, shared_modules)
TOGETHER: tuple[Together, ...] = (idle_devices,)
