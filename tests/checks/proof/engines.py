"""An engine that the head does not count."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import launched, serving


def ill() -> Any:
    two = launched()
    two.nodes[0].server.pages["/metrics"] = serving("any", 1).pages["/metrics"]
    return two


PROOF = Proof(
    passes=launched,
    fails=ill,
    says="lacks engine",
    faults={"vllm/missing_engine": "3"},
    node="node1",
    launched=True,
)
