"""Docker's daemon is down."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import docker_denied
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    docker_denied(node)
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="Docker's daemon cannot be used",
    faults={"docker/daemon": "down"},
    hardware="cpu",
    alone=True,
)
