"""Another chip of the family."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import dies
from tests.checks.proof import Proof
from tests.checks.world import pair, settings


def ill() -> Any:
    two = pair(settings("atlas-800-a2"))
    dies(two.nodes[1], *range(8), name="910B4")
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="NPUs differ",
    faults={"npu/name": "910B4"},
    hardware="atlas-800-a2",
    alone=True,
)
