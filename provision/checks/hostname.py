"""The node's own name leads to its data address.

Where /etc/hosts maps it to 127.0.1.1, Gloo tells the other nodes to connect to themselves; where the lookup hangs,
torch's rendezvous stalls for minutes [domain 12 #16, real-nodes]. Clusters of one node don't care.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from provision.checks.base import Finding
from provision.checks.interface import address_of
from provision.checks.support import Skip, look, per_node
from provision.facts.base import Fact
from provision.facts.network import Network
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
    elif address not in addresses and all(_loopback(found) for found in addresses):
        yield Finding(
            f"the node's own name {name} leads to {', '.join(addresses)}",
            line,
            node=node.name,
            expected=address,
            observed=", ".join(addresses),
        )


def _loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False
