"""A die that holds a third of what the others hold."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import launched


def ill() -> Any:
    two = launched()
    first, *others = two.nodes[1].facts["npu-smi"].dies
    loaded = tuple(replace(die, hbm_used_mb=52000) for die in others)
    two.nodes[1].alter("npu-smi", dies=(replace(first, hbm_used_mb=20000), *loaded))
    return two


PROOF = Proof(
    passes=launched,
    fails=ill,
    says="davinci 0 of worker1 use less memory",
    faults={"hbm/uneven": "30000"},
    launched=True,
)
