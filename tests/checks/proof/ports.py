"""Somebody listens on a port of HCCL."""

from __future__ import annotations

from typing import Any

from provision.facts.network import Listener
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    return healthy().alter("ports", listeners=(Listener("0.0.0.0", 60000, 99, "nginx"),))


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="port 60000",
    faults={"port/60000": "taken"},
)
