"""The NPUs' network addresses are each other's only once, and are those that the hosts set again when they start.

Two NPUs with one address take each other's traffic; what differs from ``/etc/hccn.conf`` is gone after a restart, and
containers read the file [domain 3.2, failure 10]. Netmasks are equal, a gateway lies in its own network, and where the
nodes' NPUs are in different networks there is one. On A3, NPUs without a RoCE address reach each other over HCCS alone,
so all nodes must then be in one super-pod. What answers to these addresses is the matter of the check ``fabric``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from provision.checks.base import Finding, Shown
from provision.checks.npu_link import hccn
from provision.checks.support import (
    NPU_FACTS,
    CannotTell,
    Skip,
    alone,
    ascend,
    compared,
    hanging,
    listed,
    selected,
    span,
)
from provision.facts.base import Fact
from provision.facts.hccn import HCCN_CONF, HccnConf, HccnDevice
from provision.facts.hccs import Hccs, HccsValue
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "X14"
LEVEL = "fail"
SCOPE = "cluster"

applies = ascend

_TOOL = "hccn_tool"
Found = Mapping[str, Mapping[int, HccnDevice]]
"""Devices that are to be used, by node and davinci number."""


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return () if alone(settings) else (*NPU_FACTS, hccn(settings), HccnConf())


def run(cluster: Cluster) -> Iterable[Shown]:
    if len(cluster.nodes) == 1 or alone(cluster.settings):
        raise Skip("no ranks on several nodes")
    found = {node.name: devices for node in cluster.nodes if (devices := _devices(node))}
    if not found:
        raise Skip("hccn_tool tells of no NPU: the check npu_link says so")
    twice = _owners_of_one(found)
    yield from _duplicates(twice)
    for node in cluster.nodes:
        told = {number for many in twice.values() for name, number in many if name == node.name}
        yield from _against_file(node, {n: d for n, d in found.get(node.name, {}).items() if n not in told})
    masks = {name: _masks(devices) for name, devices in found.items() if _masks(devices)}
    yield from compared("NPU netmask", masks, _MASK, level="warn", summary="the NPUs' netmasks differ")
    yield from _gateways(cluster, found)
    if cluster.settings.hardware == "atlas-800-a3":
        yield from _over_hccs(cluster, found)


_MASK = f"{_TOOL} -i N -ip -s address A netmask M on the nodes at odds, and the same in {HCCN_CONF} (administrator)"


def _devices(node: Node) -> dict[int, HccnDevice]:
    try:
        usable = selected(node)
    except (Skip, CannotTell):
        return {}
    devices = node.get(hccn(node.settings)).devices
    return {d.device: d for d in devices if d.device in usable and not hanging(d.problems)}


# ---- each once


def _owners_of_one(found: Found) -> dict[str, list[tuple[str, int]]]:
    """The addresses that several have, with the nodes and devices."""
    owners: dict[str, list[tuple[str, int]]] = {}
    for node, devices in found.items():
        for device in devices.values():
            if device.address:
                owners.setdefault(device.address, []).append((node, device.device))
    return {address: many for address, many in owners.items() if len(many) > 1}


def _duplicates(twice: Mapping[str, list[tuple[str, int]]]) -> Iterator[Finding]:
    """Two nodes set up from one file give one finding, not one for each of their NPUs."""
    by_nodes: dict[tuple[str, ...], dict[str, list[tuple[str, int]]]] = {}
    for address, many in twice.items():
        by_nodes.setdefault(tuple(dict.fromkeys(node for node, _ in many)), {})[address] = many
    for nodes, addresses in by_nodes.items():
        first, many = next(iter(addresses.items()))
        where = " and ".join(f"davinci {number} of {node}" for node, number in many)
        more = f", and {len(addresses) - 1} more" if len(addresses) > 1 else ""
        node, number = many[-1]
        yield Finding(
            f"{where} have the same NPU address {first}{more}",
            f"give each NPU its own: {_TOOL} -i {number} -ip -s address A netmask M on {node}, and the same in "
            f"{HCCN_CONF}; compare this file of {listed(nodes, 8)}; `{_TOOL} -i {number} -cfg recovery` sets what it "
            "says (administrator)",
            node=nodes[-1],
            expected="every address once in the cluster",
            observed="; ".join(f"{address} {len(owners)} times" for address, owners in list(addresses.items())[:4]),
        )


# ---- as in the file


def _against_file(node: Node, devices: Mapping[int, HccnDevice]) -> Iterator[Finding]:
    """Without any file the check mounts tells, of an NPU without an address npu_link."""
    conf = node.get(HccnConf())
    if not conf.found:
        return
    entries = {entry.device: entry for entry in conf.devices}
    own = {number: device.address for number, device in devices.items() if device.address}
    other = {n: entries[n].address for n, a in own.items() if n in entries and entries[n].address not in (None, a)}
    absent = [n for n in own if n not in entries or entries[n].address is None]
    if other:
        first = min(other)
        yield Finding(
            f"davinci {span(other)}: {HCCN_CONF} has another address than the NPU",
            f"after a restart the file's would count: correct address_{first}= in it, or set the NPU's again from it: "
            f"{_TOOL} -i {first} -cfg recovery (administrator)",
            node=node.name,
            expected=f"{own[first]}, as davinci {first} has on {node.name}",
            observed=f"address_{first}={other[first]}",
        )
    if absent:
        yield Finding(
            f"davinci {span(absent)}: the address is not in {HCCN_CONF}",
            f"it is gone after a restart: add address_{absent[0]}={own[absent[0]]} and its netmask_{absent[0]}=",
            node=node.name,
            expected=f"address_{absent[0]}={own[absent[0]]}",
            observed="none",
            level="warn",
        )


def _masks(devices: Mapping[int, HccnDevice]) -> str:
    """The one netmask, or which devices have which."""
    by_mask: dict[str, list[int]] = {}
    for number, device in devices.items():
        if device.netmask:
            by_mask.setdefault(device.netmask, []).append(number)
    if len(by_mask) < 2:
        return next(iter(by_mask), "")
    return ", ".join(f"{mask} (davinci {span(numbers)})" for mask, numbers in by_mask.items())


# ---- from network to network

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _gateways(cluster: Cluster, found: Found) -> Iterator[Finding]:
    """Gateways as the files name them: asking the NPUs takes a call each, and net_health proves a working one."""
    apart = {number for number in _numbers(found) if len(_networks(found, number)) > 1}
    for node in cluster.nodes:
        devices = found.get(node.name, {})
        named = {
            entry.device: entry.gateway
            for entry in node.get(HccnConf()).devices
            if entry.device in devices and entry.address == devices[entry.device].address
        }
        networks = {number: network for number in named if (network := _network(devices[number]))}
        outside = [n for n, network in networks.items() if named[n] and not _inside(named[n], network)]
        if outside:
            yield _outside(node, outside, named[outside[0]], networks[outside[0]])
        if without := [number for number in networks if number in apart and not named[number]]:
            yield _without(node, without, networks[without[0]])


def _outside(node: Node, numbers: list[int], gateway: str | None, network: _Network) -> Finding:
    first = numbers[0]
    return Finding(
        f"davinci {span(numbers)}: the gateway in {HCCN_CONF} is not in the NPU's own network",
        f"correct gateway_{first}= or the netmask; in use now: {_TOOL} -i {first} -gateway -g (administrator)",
        node=node.name,
        expected=f"an address of {network}",
        observed=f"gateway_{first}={gateway}",
    )


def _without(node: Node, numbers: list[int], network: _Network) -> Finding:
    first = numbers[0]
    return Finding(
        f"davinci {span(numbers)}: other nodes' NPUs are in other networks, and {HCCN_CONF} names no gateway",
        f"{_TOOL} -i {first} -gateway -s gateway A, and gateway_{first}=A in the file (administrator)",
        node=node.name,
        expected="a gateway, or all NPUs of a number in one network",
        observed=f"{network}, no gateway",
        level="warn",
    )


def _numbers(found: Found) -> set[int]:
    return {number for devices in found.values() for number in devices}


def _networks(found: Found, number: int) -> set[_Network]:
    """The networks in which the NPUs of a number are."""
    networks = (_network(devices[number]) for devices in found.values() if number in devices)
    return {network for network in networks if network}


def _network(device: HccnDevice) -> _Network | None:
    try:
        return ipaddress.ip_network(f"{device.address}/{device.netmask}", strict=False)
    except ValueError:
        return None


def _inside(address: str | None, network: _Network) -> bool:
    try:
        return ipaddress.ip_address(address or "") in network
    except ValueError:
        return False


# ---- without RoCE


def _over_hccs(cluster: Cluster, found: Found) -> Iterator[Shown]:
    """Only where NPUs have no RoCE: the super-pods are asked then, which takes a call a device."""
    lone = {
        name: [number for number, device in devices.items() if device.address is None or device.link == "DOWN"]
        for name, devices in found.items()
    }
    if not any(lone.values()):
        return
    values = cluster.each(
        lambda node: node.get(Hccs(hccn(node.settings).devices)) if node.name in found else HccsValue()
    )
    pods = {name: str(values[name].pod) for name in found if values[name].pod is not None}
    example = next(name for name in lone if lone[name])
    yield from compared(
        "super pod",
        pods,
        f"davinci {span(lone[example])} of {example} has no RoCE network, so only HCCS joins it to others: take nodes "
        "of one super-pod (`npu-smi info -t spod-info -i 0 -c 0`), or bring RoCE up",
        summary="nodes without RoCE are in different super-pods",
    )
    for name, numbers in lone.items():
        deaf = [number for number in numbers if number not in values[name].vnics or number in values[name].down]
        if deaf:
            yield Finding(
                f"davinci {span(deaf)} has neither a RoCE address nor one in the super-pod",
                f"{_TOOL} -i {deaf[0]} -vnic -g and -link -g tell why; a restart helps where the driver came up "
                "before the super-pod's switches",
                node=name,
                expected="one of both networks",
                observed="none",
            )
