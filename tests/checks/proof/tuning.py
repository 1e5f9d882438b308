"""Processors that save power."""

from __future__ import annotations

from typing import Any

from provision.facts.tuning import TuningValue
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    node.facts["tuning"] = TuningValue({"powersave": 80})
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says=r"governor is powersave \(\d+ of \d+\)",
    faults={"governor": "powersave"},
)
