"""The address that ranks use among themselves belongs to an interface of the node that is up and leads to other nodes.

A loopback or Docker bridge address is reachable from the node alone; then the others wait for it in vain [domain 3.4].
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from provision.checks.base import Finding
from provision.checks.support import look, per_node
from provision.errors import RemoteError
from provision.facts.base import Fact
from provision.facts.network import Interface, Network
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.serve import launch

CODE = "N16"
LEVEL = "fail"
SCOPE = "cluster"

_LOCAL = re.compile(r"lo|docker\d*|br-[0-9a-f]{12}|virbr\d+|veth.*|cni\d+|flannel.*")
_ANOTHER = "set qnext.data_address of this host to one of its addresses"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return launch.facts(settings)


def run(cluster: Cluster) -> Iterable[Finding]:
    yield from per_node(cluster, lambda node: _check(node, alone=len(cluster.nodes) == 1))


def address_of(node: Node) -> str:
    """The address for the ranks, as the launch takes it; empty where none is found."""
    try:
        return launch.observed_site(node).address
    except RemoteError:
        return ""


def _check(node: Node, *, alone: bool) -> Iterator[Finding]:
    network = look(node, Network())
    address, wanted = address_of(node), node.settings.data_interface
    has = ", ".join(f"{i.name} {a.ip}" for i in network.interfaces for a in i.addresses if not _loopback(a.ip))
    if wanted and network.interface(wanted) is None:
        remedy = "correct qnext.data_interface of this host"
        yield Finding(f"no interface {wanted}", remedy, node=node.name, expected=wanted, observed=has)
        return
    owner = network.interface_of(address)
    if owner is None:
        text = f"no interface has the address {address}" if address else "no address for the ranks is known"
        yield Finding(text, _ANOTHER, node=node.name, expected=address, observed=has)
    elif fault := _fault(owner, address, wanted, alone):
        yield Finding(fault[0], fault[1], node=node.name, expected=wanted or "up, for other nodes too", observed=has)


def _fault(owner: Interface, address: str, wanted: str | None, alone: bool) -> tuple[str, str] | None:
    """What is wrong with the interface that owns the address, and the remedy."""
    if wanted and owner.name != wanted:
        return (
            f"{address} belongs to {owner.name}, not to {wanted}",
            "correct qnext.data_address or qnext.data_interface of this host",
        )
    if owner.state == "down":
        return (
            f"interface {owner.name} with {address} is down",
            f"ip link set {owner.name} up; check its cable: ethtool {owner.name}",
        )
    if not alone and _LOCAL.fullmatch(owner.name):
        return f"{address} ({owner.name}) cannot be reached by the other nodes", _ANOTHER
    return None


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
