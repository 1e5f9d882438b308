"""A headless rank that was killed."""

from __future__ import annotations

from typing import Any

from provision.facts.docker import ContainersValue
from tests.checks.proof import Proof
from tests.checks.world import launched, ours


def ill() -> Any:
    two = launched()
    dead = ours("exited", "worker1", exit_code=137, oom_killed=True)
    two.nodes[1].facts["containers"] = ContainersValue((dead,), reachable=True)
    return two


PROOF = Proof(
    passes=launched,
    fails=ill,
    says="worker1 is exited with exit status 137",
    faults={"container/killed": "worker1"},
    hardware="cpu",
    alone=True,
    launched=True,
)
