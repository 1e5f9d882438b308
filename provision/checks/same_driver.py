"""All nodes run the same driver and firmware; the same CANN too, where the host's counts.

Drivers and firmware that differ warn. CANN that differs ends a group with EI0008: it fails where servers run on the
host's own. With images it is each node's image that counts (``same_image``), and a difference is only noted [domain
14.3, X03; MindCluster fault EI0008].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Shown
from provision.checks.support import ascend, compared, each
from provision.facts.base import Fact
from provision.facts.cann import Cann
from provision.facts.driver import Driver, DriverValue
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X03"
LEVEL = "fail"
SCOPE = "cluster"

CANN_INSIDE = frozenset({"image"})
"""Methods of installation that bring their own CANN along."""

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Driver(), Cann()


def run(cluster: Cluster) -> Iterable[Shown]:
    versions = {name: text for name, value in each(cluster, Driver()).items() if (text := _versions(value))}
    yield from compared(
        "driver and firmware",
        versions,
        "bring all nodes to one HDK release",
        level="warn",
        summary="driver or firmware differ",
    )
    cann = {name: value.version or "none" for name, value in each(cluster, Cann()).items()}
    yield from compared(
        "CANN of the host",
        cann,
        "install one CANN toolkit (with the NNAL of its version) on all nodes",
        level="info" if cluster.settings.install.method in CANN_INSIDE else "fail",
        summary="CANN on the hosts differs",
    )


def _versions(value: DriverValue) -> str:
    driver = value.driver.version if value.driver else None
    firmware = value.firmware.version if value.firmware else None
    return f"driver {driver}" + (f", firmware {firmware}" if firmware else "") if driver else ""
