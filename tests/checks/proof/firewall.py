"""A packet filter lets ssh in and nothing else."""

from __future__ import annotations

from typing import Any

from provision.facts.firewall import Rules
from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    two.nodes[1].alter("firewall", rules=Rules("drop", "accept"))
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says=r"may keep out the other nodes: what no rule takes is dropped",
    faults={"firewall": "iptables"},
)
