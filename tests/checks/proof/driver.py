"""Firmware that the driver does not work with; an installation that broke off."""

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
    says="driver's installation is uncomplete|firmware 8.0.0.1.231",
    faults={"firmware/version": "8.0.0.1.231"},
)
