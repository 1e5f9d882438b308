"""A control device is missing."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    return healthy().alter("davinci", hisi_hdc=False)


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="hisi_hdc",
    faults={"device/hisi_hdc": "missing"},
)
