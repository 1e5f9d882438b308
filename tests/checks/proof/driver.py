"""An installation that broke off: npu-smi works, and containers get half a driver."""

from __future__ import annotations

from typing import Any

from provision.accel.ascend.driver import AscendInstall
from tests.checks.proof import Proof
from tests.checks.world import healthy


def half_installed() -> Any:
    return healthy().alter("driver", install=AscendInstall(driver_status="uncomplete"))


PROOF = Proof(
    passes=healthy,
    fails=half_installed,
    says="driver's installation is uncomplete",
    faults={"driver/install_status": "uncomplete"},
)
