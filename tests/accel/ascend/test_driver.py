"""Version order and compatibility ranges of drivers and firmware."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend.cann import parse_cann
from provision.accel.ascend.driver import (
    parse_driver_version,
    parse_firmware_version,
    parse_install,
    version_key,
    within,
)

ORDER = ["23.0.rc3", "23.0.0", "23.0.3", "24.1.rc1", "24.1.0", "24.1.0.3", "25.2.0", "25.5.1", "25.7.rc1", "26.0"]


def test_versions_sort_as_released() -> None:
    assert sorted({*ORDER}, key=version_key) == ORDER


@pytest.mark.parametrize(
    ("version", "limits", "inside"),
    [
        ("7.1.0.11.220", ("7.0.0", "7.2.99"), True),
        ("7.2.99.1", ("7.0.0", "7.2.99"), True),
        ("7.3.0.1.231", ("7.0.0", "7.2.99"), False),
        ("6.4.12", ("7.0.0", "7.2.99"), False),
        ("23.0.rc3", ("23.0.rc3", "23.0.rc3."), True),
        ("23.0.0", ("23.0.rc3", "23.0.rc3."), False),
    ],
)
def test_ranges(version: str, limits: tuple[str, str], inside: bool) -> None:
    assert within(version, limits) is inside


def test_the_status_of_the_install() -> None:
    text = "UserName=HwHiAiUser\nDriver_Install_Path_Param=/usr/local/Ascend\nDriver_Install_Status=complete\n"
    assert parse_install(text).driver_status == "complete"


@given(st.text())
def test_nothing_raises_and_nothing_is_found_in_silence(text: str) -> None:
    version_key(text)
    driver = parse_driver_version(text)
    assert driver.version or driver.problems
    firmware = parse_firmware_version(text)
    assert firmware.version or firmware.problems
    assert parse_cann(text).version or parse_cann(text).problems
    assert parse_install(text).driver_path or parse_install(text).problems
