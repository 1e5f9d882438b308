"""The network between the hosts is as fast and as wide on every node.

One node with a slower card or a smaller MTU holds all ranks back, and packets that are too large for it vanish while
small ones pass: handshakes work, then everything hangs. Compared are the interfaces of the addresses that the ranks
use [domain 14.3, X09]; how long a connection takes is measured by the check ``host_tcp``.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from provision.checks.base import CheckArgs, Finding, Shown
from provision.checks.interface import address_of
from provision.checks.support import Skip, compared, hanging
from provision.facts.base import Fact
from provision.facts.network import Interface, Network
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.serve import launch

CODE = "X09"
LEVEL = "warn"
SCOPE = "cluster"


class Args(CheckArgs):
    """What is fast enough."""

    least: int | None = Field(None, ge=1, description="Mb/s that every interface must have; default: none is asked for")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return launch.facts(settings)


def run(args: Args, cluster: Cluster) -> Iterable[Shown]:
    own = {node.name: found for node in cluster.nodes if (found := _interface(node))}
    if not own:
        raise Skip("no interface of the ranks is known: the check interface says so")
    names = list(dict.fromkeys(found.name for found in own.values()))
    name = names[0] if len(names) == 1 else "INTERFACE"
    mtus = {name: str(found.mtu) for name, found in own.items() if found.mtu}
    speeds = {name: f"{found.speed} Mb/s" for name, found in own.items() if found.speed}
    yield from compared(
        "MTU", mtus, f"ip link set dev {name} mtu N: the same on all nodes and on the switch", level="warn",
        summary="the MTU is not the same everywhere",
    )  # fmt: skip
    yield from compared(
        "network speed", speeds, f"ethtool {name}: cable, optics, switch port and autonegotiation of the node at odds",
        level="warn", summary="the network cards' speed is not the same everywhere",
    )  # fmt: skip
    for node, found in own.items():
        if args.least and found.speed and found.speed < args.least:
            yield Finding(
                f"{found.name} runs at {found.speed} Mb/s",
                f"ethtool {found.name}: cable, optics, switch port; or the ranks' addresses on a faster interface "
                "(qnext.data_address, qnext.data_interface)",
                node=node,
                expected=f"at least {args.least} Mb/s",
                observed=f"{found.speed} Mb/s",
            )
        if found.duplex == "half":
            yield Finding(
                f"{found.name} runs half duplex",
                f"autonegotiation on both ends: ethtool -s {found.name} autoneg on",
                node=node,
                expected="full duplex",
                observed="half",
            )


def _interface(node: Node) -> Interface | None:
    """The interface with the ranks' address, where it is known."""
    network = node.get(Network())
    return None if hanging(network.problems) else network.interface_of(address_of(node))
