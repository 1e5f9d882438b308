"""Commands that do not run as root."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    return healthy().alter("identity", root=False, uid=1000, user="ops")


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="as ops, not as root",
    without_rehearsal="without root no probe of a node is run at all: SudoRefused says so, see tests/transport",
)
