"""Memory errors that could not be corrected."""

from __future__ import annotations

from typing import Any

from provision.accel.ascend.npu_smi_sections import ChipEcc
from tests.checks.ills import details
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    details(node, 6, ecc=ChipEcc(hbm_double=2))
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="davinci 6 .*: 2 uncorrected",
    faults={"npu/6/ecc_double": "2"},
)
