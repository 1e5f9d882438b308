"""A server that says itself that it is ill."""

from __future__ import annotations

from typing import Any

from provision.http import Response
from tests.checks.proof import Proof
from tests.checks.world import launched


def ill() -> Any:
    two = launched()
    two.nodes[0].server.pages["/health"] = Response(503)
    return two


PROOF = Proof(
    passes=launched,
    fails=ill,
    says="is not well: /health: HTTP 503",
    faults={"vllm/health": "503"},
    node="node1",
    launched=True,
)
