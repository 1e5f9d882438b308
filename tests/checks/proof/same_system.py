"""Another kernel."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    for node, kernel in zip(two.nodes, ("5.10.0-60.18.0", "5.10.0-216.0.0"), strict=True):
        node.alter("os", kernel=kernel)
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="kernel is not the same everywhere",
    faults={"kernel/version": "5.10.0-60.18.0.50.oe2203.aarch64"},
)
