"""Huge pages on one node alone."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    two.nodes[1].alter("memory", hugepages_total=512, hugepage_size=2 * 1024**2)
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="huge pages is not the same everywhere",
    faults={"hugepages": "512"},
)
