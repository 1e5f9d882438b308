"""The driver module: what allows it, who must be gone, what is sent and installed, and what is proven."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from provision.accel.ascend.driver import DriverVersion, FirmwareVersion
from provision.actions import Job, Run, Send
from provision.errors import CommandFailed, ConfigError, ProvisionError, RemoteError
from provision.facts.driver import DriverValue, PackageWorkValue
from provision.facts.npu_smi import NpuSmi
from provision.inventory.model import Install, Package, Settings
from provision.modules import driver
from provision.results import Result
from tests.checks.world import healthy
from tests.modules.world import Desk, Driven, Node, container, containers, drive

FIRMWARE = "Atlas-A3-hdk-npu-firmware_7.9.0.1.1.run"
DONE = "[Driver] [2025-07-17 10:36:24] [INFO]Driver package installed successfully! "


def package(place: Path, name: str = FIRMWARE, kind: Any = "firmware", **more: Any) -> Package:
    path = place / name
    path.write_text(name)
    return Package(kind=kind, path=str(path), sha256=hashlib.sha256(name.encode()).hexdigest(), **more)


def node(*packages: Package, allowed: bool = True, **facts: Any) -> Node:
    own = Settings.model_validate(
        {
            "cluster": "qnext",
            "hardware": "atlas-800-a3",
            "install": Install(image="quay.io/ascend/vllm-ascend:v0.18.0-a3", driver=allowed, packages=packages),
            "model": {"path": "/data/weights/Qwen3-Next"},
        }
    )
    plain = {
        "driver": DriverValue(DriverVersion("25.5.1"), FirmwareVersion("7.8.0.6.201")),
        "package-work": PackageWorkValue(),
    }
    return Node(0, own, {**healthy(0, own).facts, **plain, **facts}, Desk())


def run(subject: Node, part: Any, answer: Any = None) -> Driven:
    args = driver.Args(part=part)
    return drive(driver.run(args, subject), answer) if answer else drive(driver.run(args, subject))


def test_nothing_is_done_unless_the_inventory_allows_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"install\.driver is not true"):
        run(node(package(tmp_path), allowed=False), "packages")
    with pytest.raises(ConfigError, match=r"install\.packages is empty"):
        run(node(), "packages")


def test_what_is_lacking_is_sent(tmp_path: Path) -> None:
    (send,) = run(node(package(tmp_path)), "packages").actions

    assert isinstance(send, Send)
    assert (send.path, send.sha256) == (f"/var/lib/qnext/driver/{FIRMWARE}", package(tmp_path).sha256)


def test_a_package_here_of_another_checksum_is_refused(tmp_path: Path) -> None:
    wanted = package(tmp_path).model_copy(update={"sha256": "1" * 64})

    with pytest.raises(ConfigError, match=f"not {'1' * 64}: refused"):
        run(node(wanted), "packages")


@pytest.mark.parametrize(("said", "words"), [("2" * 64 + "  -\n", "refused"), ("", "there is no /p/")])
def test_a_package_on_the_node_that_is_another_or_missing_is_refused(said: str, words: str) -> None:
    subject = node(Package(kind="firmware", path=f"/p/{FIRMWARE}", sha256="1" * 64, on="node"))
    subject.texts = said

    with pytest.raises(ConfigError, match=words) as refused:
        run(subject, "packages")
    assert refused.value.node == subject.name


def test_servers_must_be_down(tmp_path: Path) -> None:
    subject = node(package(tmp_path), containers=containers(container("head")))

    for part in ("packages", "host"):
        with pytest.raises(ProvisionError, match="servers of this cluster run") as refused:
            run(subject, part)
        assert "nothing was installed" in refused.value.hint


def test_an_installation_asks_for_a_boot_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    subject = node(package(tmp_path))

    driven = run(subject, "host")
    assert [type(action) for action in driven.actions] == [Job]
    assert driven.outcome.data == {"reboot": True}

    at_once = run(subject, "host", lambda action: Result("", 0, DONE + "The new version takes effect immediately."))
    assert at_once.outcome.data == {"reboot": False}


def test_what_was_installed_before_still_waits_for_its_boot() -> None:
    have = Package(kind="firmware", path="/p/Atlas-A3-hdk-npu-firmware_7.8.0.6.201.run", sha256="1" * 64, on="node")
    waiting = node(have, **{"package-work": PackageWorkValue(awaits_boot=True)})
    stale = node(have, driver=DriverValue(DriverVersion("25.5.2"), FirmwareVersion("7.8.0.6.201")))

    assert [run(each, "host").outcome.data["reboot"] for each in (waiting, stale, node(have))] == [True, True, False]


def test_a_boot_that_an_earlier_run_left_out_is_not_made_up_for_under_servers() -> None:
    have = Package(kind="firmware", path="/p/Atlas-A3-hdk-npu-firmware_7.8.0.6.201.run", sha256="1" * 64, on="node")
    serving = node(
        have, containers=containers(container("head")), **{"package-work": PackageWorkValue(awaits_boot=True)}
    )

    for part in ("packages", "host"):
        with pytest.raises(ProvisionError, match="servers of this cluster run"):
            run(serving, part)


def test_an_installer_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    log = "[Firmware] [2025-07-17 10:36:24] [ERROR]the device is busy\nthe installer ended with 1\n"

    def fails(action: Run) -> CommandFailed:
        return CommandFailed("exit status 1", Result("", 1, log), hint=action.hint)

    with pytest.raises(CommandFailed, match=r"firmware_7.9.0.1.1.run failed: the device is busy") as failed:
        run(node(package(tmp_path)), "host", fails)
    assert "left as the installer left it" in failed.value.hint


def test_an_installer_that_ends_well_with_an_error_is_not_believed(tmp_path: Path) -> None:
    log = "[Firmware] [2025-07-17 10:36:24] [ERROR]the device is busy\n"

    with pytest.raises(RemoteError, match="tells an error: the device is busy"):
        run(node(package(tmp_path)), "host", lambda action: Result("", 0, log))


def test_the_proof_compares_what_runs(tmp_path: Path) -> None:
    given = package(tmp_path, "Atlas-A3-hdk-npu-driver_25.5.2_linux-aarch64.run", "driver")

    with pytest.raises(RemoteError, match=r"driver is 25\.5\.1, not 25\.5\.2"):
        run(node(given), "proof")
    with pytest.raises(RemoteError, match=r"driver 25\.5\.1 runs, 25\.5\.2 is installed"):
        run(node(given, driver=DriverValue(DriverVersion("25.5.2"), FirmwareVersion("7.8.0.6.201"))), "proof")


def test_the_proof_tells_what_it_is_of(tmp_path: Path) -> None:
    given = package(tmp_path, "Atlas-A3-hdk-npu-driver_25.5.1_linux-aarch64.run", "driver")
    subject = node(given)
    running = subject.get(NpuSmi()).driver_version

    assert run(subject, "proof").outcome.message.startswith(f"driver {running}, firmware 7.8.0.6.201")


def test_a_node_without_npus_is_passed_over() -> None:
    subject = node(allowed=False)
    subject.settings = subject.settings.model_copy(update={"hardware": "cpu"})

    assert run(subject, "packages").outcome.skipped
