"""One node can't connect to another."""

from __future__ import annotations

from tests.checks.proof import Proof
from tests.checks.wires import connected
from tests.checks.world import pair

PROOF = Proof(
    passes=lambda: connected(pair()),
    fails=lambda: connected(pair(), lambda source, target, port: "refused" if source == "atlas-2" else "ok"),
    says=r"TCP connections from (atlas-|node)2 to (atlas-|node)1 are refused",
    faults={"tcp/node1": "refused"},
)
