"""A die with an alarm."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import dies
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    dies(node, 3, health="Alarm")
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="davinci 3: health is Alarm",
    faults={"npu/3/health": "Alarm"},
)
