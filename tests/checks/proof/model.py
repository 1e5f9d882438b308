"""A shard is missing."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import healthy, model


def ill() -> Any:
    node = healthy()
    node.facts["model-folder"] = model(shards=model().shards[:2], missing=("model-3-of-3.safetensors",))
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="shards are missing",
    faults={"weights/missing_shard": "2"},
)
