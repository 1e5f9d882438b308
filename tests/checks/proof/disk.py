"""A full disk."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import state_disk
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    state_disk(node, free=1024)
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="free",
    faults={"disk/full": "1"},
    hardware="cpu",
    alone=True,
)
