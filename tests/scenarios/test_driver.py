"""A new driver on two nodes: checksums first, servers down, the first node alone, a boot each, and what then runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.inventory.model import Package
from provision.modules import reboot
from provision.rehearsal.standins.ascend_package import text
from tests.scenarios.practice import Practice
from tests.scenarios.program import Answer, Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

DRIVER = "Atlas-A3-hdk-npu-driver_25.5.2_linux-aarch64.run"
FIRMWARE = "Atlas-A3-hdk-npu-firmware_7.8.0.7.201.run"
NAMES = {
    "driver": (DRIVER, "25.5.2"),
    "firmware": (FIRMWARE, "7.8.0.7.201"),
    "toolkit": ("Ascend-cann-toolkit_9.0.0_linux-aarch64.run", "9.0.0"),
    "ops": ("Ascend-cann-A3-ops_9.0.0_linux-aarch64.run", "9.0.0"),
    "nnal": ("Ascend-cann-nnal_9.0.0_linux-aarch64.run", "9.0.0"),
}


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reboot, "LOOK_EVERY", 0.2)


@pytest.fixture
def nodes(a3: Practice) -> Iterator[Practice]:
    """Two A3 nodes, which boot quickly; afterwards the driver is the usual one again."""
    a3.everywhere("boot/seconds", "0.2")
    yield a3
    for name in a3.nodes:
        a3.mend(name, "boot/never")
        state = a3.node(name).state
        eventually(lambda state=state: not state.get("boot/requested"), "the node is up again")


def packages(nodes: Practice, *kinds: str) -> list[dict[str, Any]]:
    """Packages on the controller, as the inventory lists them."""
    return [_package(nodes.place, kind) for kind in kinds]


def _package(place: Path, kind: str) -> dict[str, Any]:
    name, version = NAMES[kind]
    path = place / name
    path.write_text(text(kind, version))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Package(kind=kind, path=str(path), sha256=sha256).model_dump()


def inventory(nodes: Practice, given: list[dict[str, Any]], **more: object) -> Path:
    return nodes.write_inventory(install={"driver": True, "packages": given, **more})


def apply(program: Program, path: Path) -> Answer:
    return program("driver", "-i", path, "--apply", "--yes")


def boots(nodes: Practice, name: str) -> str:
    return (nodes.root(name) / "proc/sys/kernel/random/boot_id").read_text().strip()


def version_of(nodes: Practice, name: str, part: str = "driver") -> str:
    text = (nodes.root(name) / f"usr/local/Ascend/{part}/version.info").read_text()
    return text.splitlines()[0].removeprefix("Version=")


def test_a_new_driver_on_two_nodes(nodes: Practice, program: Program) -> None:
    path = inventory(nodes, packages(nodes, "driver", "firmware"))
    before = {name: boots(nodes, name) for name in nodes.nodes}

    answer = apply(program, path)

    assert answer.exit == 0, answer.text
    events = (program.last_run() / "events.jsonl").read_text()
    first = events.index('"install driver 25.5.2"')
    assert events.index('"install firmware 7.8.0.7.201"') < first, "over an older one the firmware comes first"
    for name in nodes.nodes:
        assert boots(nodes, name) != before[name]
        assert version_of(nodes, name) == "25.5.2"
        assert version_of(nodes, name, "firmware") == "7.8.0.7.201"
        assert not list((nodes.root(name) / "var/lib/qnext/driver").glob("*.run")), "what was sent is gone again"
    assert "driver 25.5.2, firmware 7.8.0.7.201" in answer.text

    again = apply(program, path)

    assert again.exit == 0, again.text
    assert "nothing is lacking" in again.text
    assert "boots" not in again.text


def test_the_runbook_changes_nothing(nodes: Practice, program: Program) -> None:
    nodes.everywhere("driver/version", "25.2.0")
    before = nodes.fingerprint()

    answer = program("driver", "-i", nodes.write_inventory())

    assert answer.exit == 0, answer.text
    assert nodes.fingerprint() == before
    assert "node1, node2 driver 25.2.0" in " ".join(answer.text.split())
    lines = [line.strip() for line in answer.text.splitlines()]
    firmware = next(i for i, line in enumerate(lines) if line.endswith("npu-firmware_<version>.run --full"))
    driver = next(i for i, line in enumerate(lines) if line.endswith("linux-aarch64.run --full --install-for-all"))
    assert firmware < driver < lines.index("reboot")


def test_a_wrong_checksum_is_refused_before_anything(nodes: Practice, program: Program) -> None:
    given = packages(nodes, "driver", "firmware")
    Path(given[0]["path"]).write_text(text("driver", "25.5.3"))
    before = nodes.fingerprint()

    answer = apply(program, inventory(nodes, given))

    assert answer.exit != 0
    assert f"not {given[0]['sha256']}: refused" in answer.text
    after = nodes.fingerprint()
    assert {key for key in after if after[key] != before.get(key)} == set()


def test_an_installer_that_fails_stops_before_the_next_node(nodes: Practice, program: Program) -> None:
    path = inventory(nodes, packages(nodes, "driver", "firmware"))
    nodes.fault("node1", "package/driver", "fails")
    before = {name: boots(nodes, name) for name in nodes.nodes}

    answer = apply(program, path)

    assert answer.exit == 1, answer.text
    assert "Driver package install failed, please retry after check log!" in answer.text
    assert "left as the installer left it" in answer.text
    assert {name: boots(nodes, name) for name in nodes.nodes} == before
    assert (version_of(nodes, "node1"), version_of(nodes, "node2", "firmware")) == ("25.5.1", "7.8.0.6.201")

    nodes.mend("node1", "package/driver")
    again = apply(program, path)

    assert again.exit == 0, again.text
    assert {version_of(nodes, name) for name in nodes.nodes} == {"25.5.2"}


def test_servers_and_strangers_must_be_gone(nodes: Practice, program: Program) -> None:
    path = inventory(nodes, packages(nodes, "driver"))
    nodes.fault("node2", "npu/3/process", "python3.11")

    answer = apply(program, path)

    assert answer.exit == 1, answer.text
    assert "its NPUs are in use: processes use NPUs" in answer.text
    assert {version_of(nodes, name) for name in nodes.nodes} == {"25.5.1"}


def test_a_node_that_does_not_come_back(nodes: Practice, program: Program) -> None:
    nodes.fault("node1", "boot/never")
    path = inventory(nodes, packages(nodes, "driver"))

    answer = program("driver", "-i", path, "--apply", "--yes", "--boot-timeout", "8")

    assert answer.exit != 0
    assert "it is not back 8 s after it was told to boot" in answer.text
    assert version_of(nodes, "node2") == "25.5.1"


def test_a_boot_that_is_due_is_made_up_for(nodes: Practice, program: Program) -> None:
    """The first run ends between installing and booting: the second only boots."""
    nodes.fault("node1", "boot/ignored")
    path = inventory(nodes, packages(nodes, "firmware"))
    before = boots(nodes, "node1")

    first = program("driver", "-i", path, "--apply", "--yes", "--boot-timeout", "2")

    assert first.exit == 1, first.text
    assert "it did not go down within 2 s" in first.text
    state = nodes.node("node1").state
    eventually(lambda: not state.get("boot/requested"), "the node has dropped the wish")
    nodes.mend("node1", "boot/ignored")
    assert "waits for a boot: boot: what is installed does not run yet" in program("driver", "-i", path).text

    second = apply(program, path)

    assert second.exit == 0, second.text
    assert boots(nodes, "node1") != before
    assert sum(event["label"].startswith("install firmware") for event in program.events("action_done")) == 1, "node2's"


def test_cann_in_its_order(nodes: Practice, program: Program) -> None:
    path = inventory(nodes, packages(nodes, "nnal", "ops", "toolkit"))
    before = {name: boots(nodes, name) for name in nodes.nodes}

    answer = apply(program, path)

    assert answer.exit == 0, answer.text
    assert "CANN 9.0.0, NNAL 9.0.0" in answer.text
    assert {name: boots(nodes, name) for name in nodes.nodes} == before, "CANN needs no boot"
    assert apply(program, path).exit == 0
