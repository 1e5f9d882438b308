"""A clock that follows nobody."""

from __future__ import annotations

from typing import Any

from provision.facts.timesync import TimeSyncValue
from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    two.nodes[1].facts["time-sync"] = TimeSyncValue(False, "chronyd")
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="the clock follows no time server",
    faults={"timesync": "off"},
)
