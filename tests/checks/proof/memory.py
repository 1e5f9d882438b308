"""Other programs have the memory."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import GIB, healthy


def ill() -> Any:
    return healthy().alter("memory", available=20 * GIB)


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="of main memory are available",
    faults={"memory/available": "20480"},
)
