"""One node was left out when the others were upgraded."""

from __future__ import annotations

from typing import Any

from provision.accel.ascend.driver import DriverVersion
from tests.checks.proof import Proof
from tests.checks.world import pair


def one_behind() -> Any:
    two = pair()
    two.nodes[1].alter("driver", driver=DriverVersion("25.5.0"))
    return two


PROOF = Proof(
    passes=pair,
    fails=one_behind,
    says="driver or firmware differ: .* on node2|driver or firmware differ: .*25.5.0",
    faults={"firmware/version": "8.0.0.1.231"},
)
