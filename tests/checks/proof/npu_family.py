"""Cards of another family than the inventory says."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import dies
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    dies(node, *range(16), name="910B3")
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="npu-smi names 910B",
    faults={"npu/name": "910B3"},
    alone=True,
)
