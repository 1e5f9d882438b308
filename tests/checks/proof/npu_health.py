"""A die with an alarm, and its code."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import details, dies
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    dies(node, 3, health="Alarm")
    details(node, 3, health="Alarm", codes=("80E01801",))
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="davinci 3 .*health is Alarm, error code 80E01801",
    faults={"npu/3/health": "Alarm", "npu/3/error_code": "80E01801"},
)
