"""A foreign process on a die."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import busy
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    busy(node)
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says=r"process \d+ \(python3.*uses davinci (0-1|5) ",
    faults={"npu/5/process": "python3 4711 30000"},
)
