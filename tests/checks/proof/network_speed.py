"""One node's card runs slower than the others'."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import cluster, healthy


def cards(*changes: dict[str, Any]) -> Any:
    """Nodes whose cards are alike but for these changes, a node each."""
    nodes = [healthy(index) for index in range(len(changes))]
    for node, own in zip(nodes, changes, strict=True):
        like = {"mtu": 9000, "speed": 25000, "duplex": "full", **own}
        found = node.facts["network"].interfaces
        node.alter("network", interfaces=tuple(replace(i, **like) if i.name == "eth0" else i for i in found))
    return cluster(*nodes)


PROOF = Proof(
    passes=lambda: cards({}, {}),
    fails=lambda: cards({}, {}, {"speed": 10000}),
    says="speed is not the same everywhere",
    faults={"nic/eth0/speed": "10000"},
)
