"""Driver, firmware and install files of Ascend, as values: pure parsers over ``key=value`` text.

How versions sort is in ``version``. A package writes its files at each installation, so the version they name is the
installed one; the one that runs is what ``npu-smi info`` says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.accel.ascend.text import assignments
from provision.accel.ascend.version import parse_version


@dataclass(frozen=True, slots=True)
class DriverVersion:
    """``/usr/local/Ascend/driver/version.info``. ``firmware_range`` is ``compatible_version_fw``: (lowest, highest)."""

    version: str | None = None
    inner_version: str | None = None
    package_version: str | None = None
    firmware_range: tuple[str, str] | None = None
    compatible: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FirmwareVersion:
    """``/usr/local/Ascend/firmware/version.info``. ``driver_ranges`` is ``compatible_version_drv``."""

    version: str | None = None
    package_version: str | None = None
    driver_ranges: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstallLog:
    """What a driver's or firmware's ``.run`` package printed. ``installed`` is None where the end is missing.

    ``reboot``: whether the new version waits for a restart of the host. Times are the host's own.
    """

    component: str | None = None
    installed: bool | None = None
    reboot: bool | None = None
    kind: str | None = None
    percent: int | None = None
    started: str | None = None
    ended: str | None = None
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AscendInstall:
    """``/etc/ascend_install.info``. ``driver_status`` is ``complete``, or None on packages that don't write it."""

    user: str | None = None
    group: str | None = None
    driver_path: str | None = None
    driver_type: str | None = None
    driver_status: str | None = None
    driver_mode: str | None = None
    for_all: bool | None = None
    firmware_type: str | None = None
    firmware_path: str | None = None
    problems: tuple[str, ...] = ()


def parse_driver_version(text: str) -> DriverVersion:
    """The driver's version.info. Never raises."""
    said = assignments(text)
    ranges = _ranges(said.get("compatible_version_fw", ""))
    return DriverVersion(
        version=said.get("Version"),
        inner_version=said.get("Innerversion"),
        package_version=said.get("package_version"),
        firmware_range=ranges[0] if ranges else None,
        compatible=tuple(re.findall(r"\w+", said.get("compatible_version", ""))),
        problems=_missing(said, "Version"),
    )


def parse_firmware_version(text: str) -> FirmwareVersion:
    """The firmware's version.info. Never raises."""
    said = assignments(text)
    ranges = _ranges(said.get("compatible_version_drv", ""))
    return FirmwareVersion(said.get("Version"), said.get("package_version"), tuple(ranges), _missing(said, "Version"))


def parse_install(text: str) -> AscendInstall:
    """/etc/ascend_install.info. Never raises."""
    said = assignments(text)
    for_all = said.get("Driver_Install_For_All")
    return AscendInstall(
        user=said.get("UserName"),
        group=said.get("UserGroup"),
        driver_path=said.get("Driver_Install_Path_Param"),
        driver_type=said.get("Driver_Install_Type"),
        driver_status=said.get("Driver_Install_Status"),
        driver_mode=said.get("Driver_Install_Mode"),
        firmware_type=said.get("Firmware_Install_Type"),
        firmware_path=said.get("Firmware_Install_Path_Param"),
        for_all=None if for_all is None else for_all.lower() == "yes",
        problems=_missing(said, "Driver_Install_Path_Param"),
    )


def parse_install_log(text: str) -> InstallLog:
    """The output of ``Ascend-hdk-*-driver_*.run --full``: ``[Driver] [time] [LEVEL]message`` lines. Never raises."""
    lines = [match for line in text.splitlines() if (match := _LOGGED.match(line.strip()))]
    said = [match[4].strip() for match in lines]
    errors = tuple(match[4].strip() for match in lines if match[3] == "ERROR")
    whole = "\n".join(said)
    done = "installed successfully" in whole
    percents = re.findall(r"upgradePercentage: *([0-9]{1,3})%", whole, re.ASCII)
    kind = re.search(r"install type: *(\S{1,40})", whole)
    return InstallLog(
        component=lines[0][1] if lines else None,
        installed=True if done else False if errors else None,
        reboot=_reboot(whole) if done else None,
        kind=kind[1] if kind else None,
        percent=int(percents[-1]) if percents else None,
        started=_after("Start time:", said),
        ended=_after("End time:", said),
        warnings=tuple(match[4].strip() for match in lines if match[3] == "WARNING"),
        errors=errors,
        problems=() if done or errors else ("the log says neither success nor an error",),
    )


_LOGGED = re.compile(r"\[([A-Z][A-Za-z]{1,20})\] *\[([0-9: -]{19})\] *\[([A-Z]{4,8})\] *(.*)")


def _reboot(said: str) -> bool | None:
    if "takes effect immediately" in said:
        return False
    return True if re.search(r"\breboot\b|\brestart\b.*take effect|take.? effect after", said, re.IGNORECASE) else None


def _after(key: str, lines: list[str]) -> str | None:
    return next((line.removeprefix(key).strip() for line in lines if line.startswith(key)), None)


def within(version: str, limits: tuple[str, str]) -> bool:
    """Whether ``version`` lies in a compatibility range, ends included; 7.2.99.1 is within ``[7.0.0,7.2.99]``.

    False where one of the three is no version.
    """
    own, low, high = parse_version(version), parse_version(limits[0]), parse_version(limits[1])
    return own is not None and low is not None and high is not None and own.within(low, high)


def _ranges(text: str) -> list[tuple[str, str]]:
    """``[7.0.0,7.2.99],[…]``."""
    return [(low.strip(), high.strip()) for low, high in re.findall(r"\[([^\[\],]+),([^\[\],]+)\]", text)]


def _missing(said: dict[str, str], key: str) -> tuple[str, ...]:
    return () if said.get(key) else (f"no {key}= line",)
