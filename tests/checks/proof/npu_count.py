"""A card fell off the bus."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import a_card_is_dead
from tests.checks.proof import Proof
from tests.checks.world import Serve, pair, settings

WHOLE = settings(serve=Serve(topology="data-parallel", data_parallel_size=4, tensor_parallel_size=8))


def ill() -> Any:
    two = pair(WHOLE)
    a_card_is_dead(two.nodes[1])
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="davinci .*missing: 14 of 16|davinci 15 missing: 15 of 16",
    faults={"npu/15/missing": "1"},
    alone=True,
)
