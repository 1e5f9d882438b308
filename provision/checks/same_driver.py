"""All nodes run the same driver and firmware."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Shown
from provision.checks.support import ascend, compared, each
from provision.facts.base import Fact
from provision.facts.driver import Driver, DriverValue
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X03"
LEVEL = "warn"
SCOPE = "cluster"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Driver(),)


def run(cluster: Cluster) -> Iterable[Shown]:
    versions = {name: text for name, value in each(cluster, Driver()).items() if (text := _versions(value))}
    yield from compared(
        "driver and firmware", versions, "bring all nodes to one HDK release", summary="driver or firmware differ"
    )


def _versions(value: DriverValue) -> str:
    driver = value.driver.version if value.driver else None
    firmware = value.firmware.version if value.firmware else None
    return f"driver {driver}" + (f", firmware {firmware}" if firmware else "") if driver else ""
