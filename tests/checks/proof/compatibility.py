"""Fabric memory on a driver that is too old for it."""

from __future__ import annotations

from typing import Any

from provision.accel.ascend.driver import DriverVersion
from provision.inventory.model import Serve
from tests.checks.proof import Proof
from tests.checks.world import healthy, settings

ENV = {"ASCEND_ENABLE_USE_FABRIC_MEM": "1"}


def driven_by(version: str) -> Any:
    serve = Serve(topology="data-parallel", data_parallel_size=2, tensor_parallel_size=8, env=dict(ENV))
    return healthy(0, settings(serve=serve)).alter("driver", driver=DriverVersion(version))


PROOF = Proof(
    passes=lambda: driven_by("26.0.0"),
    fails=lambda: driven_by("25.5.1"),
    says=r"fabric memory .* needs driver \(HDK\) 26.0 or later",
    faults={"driver/version": "25.2.0"},
    qnext={"serve": {"env": ENV}},
    alone=True,
)
