"""The cable of an NPU is out; on A2 that fails."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import links
from tests.checks.proof import Proof
from tests.checks.world import pair, settings


def down() -> Any:
    two = pair(settings("atlas-800-a2"))
    links(two.nodes[1], 3, link="DOWN", net_health="Fault")
    return two


PROOF = Proof(
    passes=pair,
    fails=down,
    says="link is down on davinci 3",
    faults={"npu/3/link": "DOWN"},
    hardware="atlas-800-a2",
)
