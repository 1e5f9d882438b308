"""The driver is completely installed, is the one that runs, and fits its firmware.

The firmware's version must lie in the range that the driver's version.info names; that rule is derived from the files,
so it warns [domain 2.1].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.accel.ascend.driver import within
from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, devices, look
from provision.facts.base import Fact
from provision.facts.driver import DRIVER, FIRMWARE, INSTALL, Driver, DriverValue
from provision.facts.npu_smi import NpuSmi
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N10"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, Driver()


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
    yield from _firmware(value)
    yield from _running(node, value.driver.version)
    yield from _installed(value)


def _firmware(value: DriverValue) -> Iterator[Finding]:
    limits = value.driver.firmware_range if value.driver else None
    version = value.firmware.version if value.firmware else None
    if version is None:
        yield Finding(
            f"the firmware's version cannot be read from {FIRMWARE}",
            "install the firmware package that belongs to the driver",
            level="warn",
        )
    elif limits and not within(version, limits):
        yield Finding(
            f"firmware {version} is not one that driver {value.driver.version if value.driver else ''} works with",
            "install the firmware package of the driver's release, then reboot",
            expected=f"{limits[0]} to {limits[1]}",
            observed=version,
            level="warn",
        )


def _running(node: Node, installed: str) -> Iterator[Finding]:
    """The driver that is loaded is the one on the disk. One version may carry a build number more than the other."""
    running = node.get(NpuSmi()).driver_version
    if running and not (installed.startswith(running) or running.startswith(installed)):
        yield Finding(
            f"driver {running} runs, {installed} is installed",
            "reboot: the driver was upgraded and not loaded",
            expected=installed,
            observed=running,
            level="warn",
        )


def _installed(value: DriverValue) -> Iterator[Finding]:
    status = value.install.driver_status if value.install else None
    if status and status != "complete":
        yield Finding(
            f"{INSTALL} says that the driver's installation is {status}",
            "run the driver's installer again to its end",
            expected="Driver_Install_Status=complete",
            observed=status,
            level="warn",
        )
