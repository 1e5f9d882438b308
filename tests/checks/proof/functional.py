"""Health is fine, and no token comes."""

from __future__ import annotations

from typing import Any

from provision.http import Response
from tests.checks.proof import Proof
from tests.checks.world import launched


def ill() -> Any:
    two = launched()
    dead = Response(500, b'{"error": {"message": "EngineCore encountered an issue"}}')
    two.nodes[0].server.pages["/v1/chat/completions"] = dead
    return two


PROOF = Proof(
    passes=launched,
    fails=ill,
    says="fails seed-chat",
    faults={"vllm/die_at_first_token": "1"},
    node="node1",
    hardware="cpu",
    alone=True,
    launched=True,
)
