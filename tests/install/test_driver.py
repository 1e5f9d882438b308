"""Packages by name, their order, and the script that installs one, run by a real sh with an installer of the test's."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.install import driver
from provision.install.driver import Given, Installed, Kind
from provision.inventory.model import Package

SUM = "0" * 64
HAS = Installed("25.2.0", "7.5.0.1.129", "25.2.0", "8.5.1", "8.5.1")


def package(kind: Kind, path: str, sha256: str = SUM) -> Package:
    return Package(kind=kind, path=path, sha256=sha256)


def given(kind: Kind, version: str, sha256: str = SUM) -> Given:
    return Given(package(kind, f"/p/{driver.file_name(kind, 'atlas-800-a2', version, 'aarch64')}", sha256), version)


@pytest.mark.parametrize(
    ("kind", "name", "read"),
    [
        ("driver", "Ascend-hdk-910b-npu-driver_25.0.rc1.1_linux-aarch64.run", ("25.0.rc1.1", "910b", "aarch64")),
        ("driver", "Atlas-A3-hdk-npu-driver_25.2.1_linux-aarch64.run", ("25.2.1", "A3", "aarch64")),
        ("driver", "Ascend-hdk-310p-npu-driver_23.0.2_linux-x86_64.run", ("23.0.2", "310p", "x86_64")),
        ("firmware", "Atlas-A3-hdk-npu-firmware_7.7.0.9.220.run", ("7.7.0.9.220", "A3", "")),
        ("toolkit", "Ascend-cann-toolkit_9.1.0_linux-aarch64.run", ("9.1.0", "", "aarch64")),
        ("ops", "Ascend-cann-910b-ops_9.1.0_linux-aarch64.run", ("9.1.0", "910b", "aarch64")),
        ("ops", "Ascend-cann-kernels-910b_8.3.RC2_linux-aarch64.run", ("8.3.RC2", "910b", "aarch64")),
        ("ops", "Ascend-cann-kernels-910b_8.0.RC1_linux.run", ("8.0.RC1", "910b", "")),
        ("nnal", "Ascend-cann-nnal_9.1.0_linux-x86_64.run", ("9.1.0", "", "x86_64")),
    ],
)
def test_names(kind: Kind, name: str, read: tuple[str, str, str]) -> None:
    (found,) = driver.read_packages([package(kind, f"/packages/{name}")])

    assert (found.version, found.chip, found.arch) == read


@pytest.mark.parametrize(
    ("kind", "name"), [("driver", "driver.run"), ("firmware", "Ascend-cann-nnal_9.1.0_linux-x86_64.run")]
)
def test_a_name_that_tells_no_version_is_refused(kind: Kind, name: str) -> None:
    with pytest.raises(ConfigError, match="its version cannot be told"):
        driver.read_packages([package(kind, name)])


def test_two_of_a_kind_are_refused() -> None:
    one = package("nnal", "Ascend-cann-nnal_9.1.0_linux-x86_64.run")
    with pytest.raises(ConfigError, match="two of kind nnal"):
        driver.read_packages([one, one])


@pytest.mark.parametrize(
    ("chip", "arch", "hardware", "says"),
    [
        ("910b", "aarch64", "atlas-800-a2", ""),
        ("A3", "aarch64", "atlas-800-a3", ""),
        ("910b", "aarch64", "atlas-800-a3", "is for 910b, the node is atlas-800-a3"),
        ("310p", "aarch64", "atlas-800-a2", "is for 310p"),
        ("910b", "x86_64", "atlas-800-a2", "is for x86_64, the node is aarch64"),
        ("910x", "aarch64", "atlas-800-a2", ""),
        ("", "", "atlas-800-a2", ""),
    ],
)
def test_whom_a_package_is_for(chip: str, arch: str, hardware: str, says: str) -> None:
    found = driver.misfit(Given(package("driver", "x.run"), "1", chip, arch), hardware, "aarch64")

    assert (says in found) if says else found == ""


@pytest.mark.parametrize(
    ("installed", "kinds", "order"),
    [
        (Installed(), ["firmware", "driver"], ("driver", "firmware")),
        (HAS, ["driver", "firmware"], ("firmware", "driver")),
        (Installed(firmware="7.5"), ["driver", "firmware"], ("firmware", "driver")),
        (HAS, ["nnal", "ops", "toolkit", "driver"], ("driver", "toolkit", "ops", "nnal")),
    ],
)
def test_order(installed: Installed, kinds: list[Kind], order: tuple[Kind, ...]) -> None:
    assert driver.order(kinds, installed) == order


def test_what_is_there_is_not_lacking() -> None:
    packages = [given("driver", "25.2.0"), given("firmware", "7.5.0.1.130"), given("toolkit", "8.5.1")]

    assert [one.kind for one in driver.lacking(packages, HAS)] == ["firmware"]


def test_ops_count_by_our_own_note_and_go_with_their_toolkit() -> None:
    ops = given("ops", "8.5.1", "a" * 64)
    noted = Installed(toolkit="8.5.1", done={"ops": "a" * 64})

    assert driver.lacking([ops], Installed(toolkit="8.5.1")) == (ops,)
    assert driver.lacking([ops], noted) == ()
    assert [one.kind for one in driver.lacking([ops, given("toolkit", "9.0.0")], noted)] == ["toolkit", "ops"]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("25.5.1", "25.5.1.b030", True),
        ("25.5.1", "25.5.2", False),
        ("odd", "odd ", True),
        ("24.1.rc1", "24.1.0", False),
    ],
)
def test_same(one: str, other: str, equal: bool) -> None:
    assert driver.same(one, other) is equal


def installer(place: Path, body: str) -> tuple[Given, Path]:
    path = place / "package.run"
    path.write_text(f'#!/bin/sh\necho "$*" >>{place}/calls\n[ "$1" = --check ] && exit 0\n{body}\n')
    return given("firmware", "7.8.0", hashlib.sha256(path.read_bytes()).hexdigest()), path


def install(place: Path, one: Given, path: Path, **options: bool) -> subprocess.CompletedProcess[str]:
    text = driver.script(one, str(path), HAS, str(place / "notes"), **options)
    return subprocess.run(["sh", "-c", text], cwd=place, text=True, capture_output=True, check=False)


def test_the_script_checks_installs_and_notes(tmp_path: Path) -> None:
    one, path = installer(tmp_path, "exit 0")

    done = install(tmp_path, one, path, sent=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "calls").read_text().splitlines() == ["--check", "--full"]
    assert (tmp_path / "notes/done-firmware").read_text().strip() == one.package.sha256
    assert (tmp_path / "notes/awaits-boot").read_text() == Path("/proc/sys/kernel/random/boot_id").read_text()
    assert not path.exists()


def test_no_boot_is_awaited_where_the_installer_says_so(tmp_path: Path) -> None:
    one, path = installer(tmp_path, "exit 0")
    (tmp_path / "log").write_text("The new version takes effect immediately.\n")

    assert install(tmp_path, one, path).returncode == 0
    assert not (tmp_path / "notes/awaits-boot").exists()
    assert path.exists(), "an operator's own file stays"


def test_a_failing_installer_leaves_no_note(tmp_path: Path) -> None:
    one, path = installer(tmp_path, "exit 3")

    done = install(tmp_path, one, path, sent=True)

    assert (done.returncode, list((tmp_path / "notes").iterdir()), path.exists()) == (3, [], True)


def test_another_checksum_runs_nothing(tmp_path: Path) -> None:
    one, path = installer(tmp_path, "exit 0")
    path.write_text(path.read_text() + "# one more line\n")

    assert install(tmp_path, one, path).returncode == 65
    assert not (tmp_path / "calls").exists()


def test_the_runbook_boots_between_driver_and_cann() -> None:
    steps = driver.runbook(
        [("firmware", "7.8", "f.run"), ("driver", "25.5.1", "d.run"), ("toolkit", "9.0.0", "t.run")], HAS
    )

    assert [step.title for step in steps] == [
        "firmware: 7.5.0.1.129 -> 7.8",
        "driver: 25.2.0 -> 25.5.1",
        "boot: loads what was installed",
        "CANN toolkit: 8.5.1 -> 9.0.0",
    ]
    assert steps[1].commands[-1] == "./d.run --full --install-for-all"
    assert steps[3].commands[-1] == "./t.run --upgrade --quiet"


def test_a_first_driver_gets_its_user() -> None:
    (step, _) = driver.runbook([("driver", "25.5.1", "/p/d.run")], Installed())

    assert "useradd -g HwHiAiUser" in step.commands[-2]


def test_what_is_installed_and_does_not_run_needs_a_boot_alone() -> None:
    assert [step.commands[0] for step in driver.runbook([], Installed("25.5.1", running="25.2.0"))] == ["reboot"]
    assert driver.runbook([], HAS) == ()


def test_progress_by_the_installers_own_words() -> None:
    shown = driver.progress("[Driver] [2025-07-17 10:35:30] [INFO]upgradePercentage:40%\n")

    assert (shown.fraction, shown.text) == (0.4, "40 % of the Driver installed")
    assert driver.progress("checking /p\n").text == "checking /p"
