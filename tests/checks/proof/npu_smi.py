"""The driver's tool answers with an error."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import npu_smi_refuses
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    npu_smi_refuses(node)
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="npu-smi info fails",
    faults={"npu/driver": "broken"},
    alone=True,
)
