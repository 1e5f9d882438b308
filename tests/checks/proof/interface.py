"""The data interface is down."""

from __future__ import annotations

from typing import Any

from provision.facts.network import Address, Interface
from tests.checks.ills import network
from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    down = Interface("eth0", "down", addresses=(Address("10.0.0.2", 24),))
    network(two.nodes[1], down, ssh="10.0.0.2")
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="is down",
    faults={"nic/eth0/state": "down"},
    hardware="cpu",
    alone=True,
)
