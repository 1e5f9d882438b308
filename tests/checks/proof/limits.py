"""1024 open files, the usual limit of a login."""

from __future__ import annotations

from typing import Any

from provision.facts.limits import Limit, LimitsValue, Rlimits
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    node.facts["limits"] = LimitsValue(shell=Rlimits(Limit(1024, 4096)))
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="may open 1024 files",
    faults={"limits/nofile": "1024"},
)
