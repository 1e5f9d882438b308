"""All nodes run the same driver and firmware."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import ascend, differing, each
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


def run(cluster: Cluster) -> Iterable[Finding]:
    versions = {name: text for name, value in each(cluster, Driver()).items() if (text := _versions(value))}
    odd = differing(versions)
    if odd:
        yield Finding(
            f"driver or firmware differ: {odd[0]}",
            "bring all nodes to one HDK release",
            node=odd[1],
            expected="the same on all nodes",
            observed=versions[odd[1]],
        )


def _versions(value: DriverValue) -> str:
    driver = value.driver.version if value.driver else None
    firmware = value.firmware.version if value.firmware else None
    return f"driver {driver}" + (f", firmware {firmware}" if firmware else "") if driver else ""
