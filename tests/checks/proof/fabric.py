"""A device of one node reaches nobody and is reached by nobody."""

from __future__ import annotations

from tests.checks.proof import Proof
from tests.checks.wires import pinged
from tests.checks.world import pair


def dead(node: str, device: int, way: str, address: str) -> str:
    """Device 3 of the second node, whose addresses end with .1.196."""
    return "lost" if (node, device) == ("atlas-2", 3) or address == "192.168.1.196" else "ok"


PROOF = Proof(
    passes=lambda: pinged(pair()),
    fails=lambda: pinged(pair(), dead),
    says=r"(atlas-|node)2 davinci 3 is not reached from any node|(atlas-|node)1 is not reached from (atlas-|node)2",
    faults={"npu/3/ping/node1": "lost"},
)
