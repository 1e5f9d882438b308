"""Compatibility ranges of drivers and firmware, the install record, and what an installer prints."""

from __future__ import annotations

import pytest

from provision.accel.ascend.driver import parse_install, parse_install_log, within


@pytest.mark.parametrize(
    ("version", "limits", "inside"),
    [
        ("7.1.0.11.220", ("7.0.0", "7.2.99"), True),
        ("7.2.99.1", ("7.0.0", "7.2.99"), True),
        ("7.3.0.1.231", ("7.0.0", "7.2.99"), False),
        ("6.4.12", ("7.0.0", "7.2.99"), False),
        ("23.0.rc3", ("23.0.rc3", "23.0.rc3."), True),
        ("23.0.rc3.1", ("23.0.rc3", "23.0.rc3."), True),
        ("23.0.0", ("23.0.rc3", "23.0.rc3."), False),
        ("unknown", ("7.0.0", "7.2.99"), False),
        ("7.1.0", ("7.0.0", "?"), False),
    ],
)
def test_ranges(version: str, limits: tuple[str, str], inside: bool) -> None:
    assert within(version, limits) is inside


def test_the_status_of_the_install() -> None:
    text = "UserName=HwHiAiUser\nDriver_Install_Path_Param=/usr/local/Ascend\nDriver_Install_Status=complete\n"
    assert parse_install(text).driver_status == "complete"


@pytest.mark.parametrize(
    ("last", "installed", "reboot"),
    [
        ("[INFO]Driver package installed successfully! The new version takes effect immediately.", True, False),
        (
            "[INFO]Driver package installed successfully! Reboot needed for installation/upgrade to take effect!",
            True,
            True,
        ),
        ("[INFO]Driver package installed successfully!", True, None),
        ("[ERROR]Driver_ko_install failed, details in : /var/log/ascend_seclog/ascend_install.log", False, None),
        ("[INFO]upgradePercentage:40%", None, None),
    ],
)
def test_how_an_installation_ended(last: str, installed: bool | None, reboot: bool | None) -> None:
    read = parse_install_log(f"Verifying archive integrity...\n[Driver] [2025-07-17 10:35:21] {last}\n")
    assert (read.component, read.installed, read.reboot) == ("Driver", installed, reboot)
    assert bool(read.problems) is (installed is None)
