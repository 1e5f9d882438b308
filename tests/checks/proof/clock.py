"""A clock that is ahead, by less than the first look takes on a busy node."""

from __future__ import annotations

from typing import Any

from provision.facts.system import ClockValue
from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    ahead = {"clock": ClockValue(epoch=1_790_000_090.0)}
    two.nodes[1].facts |= ahead
    two.nodes[1].later = ahead
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="clocks of .* differ by",
    faults={"clock/skew": "5"},
)
