"""The node's own name is its own, and leads to its data address.

Where /etc/hosts maps it to 127.0.1.1, Gloo tells the other nodes to connect to themselves; where it leads to another
machine, they go there; where the lookup hangs, torch's rendezvous stalls for minutes [domain 12 #16, real-nodes]. Two
nodes of one name (a cloned disk) are one node to Ray. Clusters of one node don't care.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence

from provision.checks.base import Finding
from provision.checks.interface import address_of
from provision.checks.support import Skip, each, listed, look, per_node
from provision.facts.base import Fact
from provision.facts.network import Network, NetworkValue
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.serve import launch

CODE = "N17"
LEVEL = "warn"
SCOPE = "cluster"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return launch.facts(settings)


def run(cluster: Cluster) -> Iterable[Finding]:
    if len(cluster.nodes) == 1:
        raise Skip("one node")
    yield from per_node(cluster, _check)
    yield from _twins(cluster)


def _twins(cluster: Cluster) -> Iterator[Finding]:
    by_name: dict[str, list[str]] = {}
    for name, network in each(cluster, Network()).items():
        by_name.setdefault(network.hostname, []).append(name)
    for hostname, nodes in by_name.items():
        if hostname and len(nodes) > 1:
            odd = next(name for name in reversed(nodes) if name != hostname)
            yield Finding(
                f"{listed(nodes, 8)} have one name, {hostname}",
                f"hostnamectl set-hostname {_proposed(odd)} on {odd} (and so on), and correct /etc/hosts there",
                node=odd,
                expected="a name of its own on each node",
                observed=hostname,
            )


def _proposed(name: str) -> str:
    """The inventory's name where a machine can be called so; that may be an address."""
    return name if _HOSTNAME.fullmatch(name) and not name.replace(".", "").isdigit() else "A-NAME-OF-ITS-OWN"


_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*", re.ASCII)


def _check(node: Node) -> Iterator[Finding]:
    network = look(node, Network())
    name, addresses = network.hostname, network.hostname_addresses
    address = address_of(node)
    line = f"put `{address} {name}` into /etc/hosts of the node"
    if network.lookup_timed_out:
        yield Finding(
            f"looking up the node's own name {name} takes more than 3 s",
            f"{line}; check the name servers in /etc/resolv.conf",
            node=node.name,
            expected=address,
            observed="no answer within 3 s",
        )
    elif not addresses:
        yield Finding(f"the node's own name {name} cannot be resolved", line, node=node.name, expected=address)
    elif address not in addresses and _leads_away(network, address, addresses):
        yield Finding(
            f"the node's own name {name} leads to {', '.join(addresses)}",
            line,
            node=node.name,
            expected=address,
            observed=", ".join(addresses),
        )


def _leads_away(network: NetworkValue, address: str, addresses: Sequence[str]) -> bool:
    """Whether the name leads to nowhere on this node that others reach. Where its own address is none either, the check
    of interfaces says so: then only loopback counts."""
    if _own(network, address):
        return not any(_own(network, found) for found in addresses)
    return all(_loopback(found) for found in addresses)


def _own(network: NetworkValue, address: str) -> bool:
    """Whether other nodes reach this one there, or may: it has the address, and not for itself alone."""
    return network.interface_of(address) is not None and not _loopback(address)


def _loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
