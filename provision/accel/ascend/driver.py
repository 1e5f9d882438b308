"""Driver, firmware and install files of Ascend, as values: pure parsers over ``key=value`` text.

HDK versions sort field by field, ``rcN`` before the number it precedes: 23.0.rc3 < 23.0.0 < 24.1.rc1 < 24.1.0
[domain.md 2.2].
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.accel.ascend.text import assignments


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
class AscendInstall:
    """``/etc/ascend_install.info``. ``driver_status`` is ``complete``, or None on packages that don't write it."""

    user: str | None = None
    group: str | None = None
    driver_path: str | None = None
    driver_type: str | None = None
    driver_status: str | None = None
    for_all: bool | None = None
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
        for_all=None if for_all is None else for_all.lower() == "yes",
        problems=_missing(said, "Driver_Install_Path_Param"),
    )


def version_key(version: str) -> tuple[tuple[int, int], ...]:
    """A sort key for HDK and firmware versions; ``rcN`` is below every number at its place."""
    return tuple(_field_key(part) for part in version.lower().split("."))


def _field_key(part: str) -> tuple[int, int]:
    match = re.fullmatch(r"(rc|b|)([0-9]{1,18})", part)
    if match is None:
        return (0, 0)
    return ({"rc": 1, "b": 2, "": 3}[match[1]], int(match[2]))


def within(version: str, limits: tuple[str, str]) -> bool:
    """Whether ``version`` lies in a compatibility range, ends included; 7.2.99.1 is within ``[7.0.0,7.2.99]``."""
    low, high = version_key(limits[0].rstrip(".")), version_key(limits[1].rstrip("."))
    key = version_key(version)
    return low <= key and key[: len(high)] <= high


def _ranges(text: str) -> list[tuple[str, str]]:
    """``[7.0.0,7.2.99],[…]``."""
    return [(low.strip(), high.strip()) for low, high in re.findall(r"\[([^\[\],]+),([^\[\],]+)\]", text)]


def _missing(said: dict[str, str], key: str) -> tuple[str, ...]:
    return () if said.get(key) else (f"no {key}= line",)
