"""The driver is wholly installed, is the one that runs, and fits its firmware, the release and CANN.

The driver's version.info names the firmware it works with (``compatible_version_fw``), the firmware's names the drivers
of its time (``compatible_version_drv``), and CANN's install record the families of drivers (V100R001Cnn). The rules are
derived from these files, so they warn. A driver that is older than the release's advised HDK warns too: no document
prints a minimum [domain 2.1, 2.4]. What fails outright is told by ``compatibility``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.accel.ascend.driver import DriverVersion, FirmwareVersion, within
from provision.accel.ascend.version import parse_version
from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, devices, look
from provision.facts.base import Fact
from provision.facts.driver import DRIVER, FIRMWARE, INSTALL, Driver, DriverValue
from provision.facts.npu_smi import NpuSmi
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve import stack

CODE = "N10"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, *stack.facts(settings)


def run(node: Node) -> Iterable[Finding]:
    devices(node)
    value = look(node, Driver())
    if value.driver is None or not value.driver.version:
        yield Finding(
            f"the driver's version cannot be read from {DRIVER}",
            "reinstall the Ascend driver; containers mount this file",
            expected="Version=…",
            observed="missing" if value.driver is None else "no Version line",
        )
        return
    yield from _firmware(value.driver, value.firmware)
    yield from _running(node, value.driver.version)
    yield from _installed(value)
    yield from _advised(node)


def _firmware(driver: DriverVersion, firmware: FirmwareVersion | None) -> Iterator[Finding]:
    """Each says which of the other it works with. The newer one knows the older: where the driver names the firmware,
    it is only noted that the firmware's file, made before, does not name the driver."""
    if firmware is None or firmware.version is None:
        yield Finding(
            f"the firmware's version cannot be read from {FIRMWARE}",
            "install the firmware package that belongs to the driver",
            level="warn",
        )
        return
    limits, remedy = driver.firmware_range, "install the firmware package of the driver's release, then reboot"
    if limits and not within(firmware.version, limits):
        yield Finding(
            f"firmware {firmware.version} is not one that driver {driver.version} works with",
            remedy,
            expected=f"{limits[0]} to {limits[1]}",
            observed=firmware.version,
            level="warn",
            source=f"compatible_version_fw in {DRIVER}",
        )
    elif firmware.driver_ranges and not _named(driver.version or "", firmware):
        yield Finding(
            f"driver {driver.version} is not one that firmware {firmware.version} names",
            remedy,
            expected=", or ".join(f"{low} to {high.rstrip('.')}" for low, high in firmware.driver_ranges),
            observed=driver.version or "",
            level="info" if limits else "warn",
            source=f"compatible_version_drv in {FIRMWARE}",
        )


def _named(driver: str, firmware: FirmwareVersion) -> bool:
    """Whether the driver's version begins like one of the firmware's ranges, or lies in it."""
    return any(within(driver, limits) for limits in firmware.driver_ranges)


def _running(node: Node, installed: str) -> Iterator[Finding]:
    """The driver that is loaded is the one on the disk. One version may carry a build number more than the other."""
    running = node.get(NpuSmi()).driver_version
    if running and not _same(running, installed):
        yield Finding(
            f"driver {running} runs, {installed} is installed",
            "reboot: the driver was upgraded and not loaded",
            expected=installed,
            observed=running,
            level="warn",
            source=f"npu-smi info; {DRIVER}",
        )


def _same(one: str, other: str) -> bool:
    """Whether two texts name one version, up to a build number that only one of them carries."""
    first, second = parse_version(one), parse_version(other)
    if first is None or second is None:
        return one.strip() == other.strip()
    depth = min(first.depth, second.depth)
    return first.key[:depth] == second.key[:depth]


def _installed(value: DriverValue) -> Iterator[Finding]:
    status = value.install.driver_status if value.install else None
    if status and status != "complete":
        yield Finding(
            f"{INSTALL} says that the driver's installation is {status}",
            "run the driver's installer again to its end",
            expected="Driver_Install_Status=complete",
            observed=status,
            level="warn",
            source=INSTALL,
        )


def _advised(node: Node) -> Iterator[Finding]:
    """What the table has against the driver, unless something that is in use needs a newer one: that is told alone."""
    verdicts = stack.judged(node, "feature", "driver", "family")
    refused = any(verdict.subject == "feature" for verdict in verdicts)
    for verdict in verdicts:
        if verdict.subject == "family" or (verdict.subject == "driver" and not refused):
            yield Finding(
                verdict.reason,
                verdict.remedy,
                expected=verdict.expected,
                observed=verdict.observed,
                level="warn",
                source=verdict.source,
            )
