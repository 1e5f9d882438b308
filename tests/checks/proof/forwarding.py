"""sshd forwards no connections."""

from __future__ import annotations

from typing import Any

from provision.http import Response
from tests.checks.proof import Proof
from tests.checks.world import Server, healthy


def forbidden() -> Any:
    node = healthy()
    node.server = Server(Response(0, error="sshd forbids it", hint="AllowTcpForwarding yes"))
    return node


PROOF = Proof(
    passes=healthy,
    fails=forbidden,
    says="sshd .*forward|sshd forbids it",
    faults={"ssh/forwarding": "refused"},
    node="node1",
    hardware="cpu",
    alone=True,
)
