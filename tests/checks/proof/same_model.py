"""Another config.json."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import model, pair


def ill() -> Any:
    two = pair()
    two.nodes[1].facts["model-folder"] = model(digest="d2")
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="the model on .* is not that of",
    faults={"weights/config": "1"},
    hardware="cpu",
    alone=True,
)
