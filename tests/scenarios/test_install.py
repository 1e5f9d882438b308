"""``install``: everything but the launch; what ``up`` then has left to do, and what is known of the image."""

from __future__ import annotations

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = pytest.mark.rehearsal

ASKED = "ask the image for its packages"


def labels(program: Program) -> list[str]:
    return [event["label"] for event in program.events("action_done")]


def test_install_launches_nothing_and_up_only_launches(cpu: Practice, program: Program) -> None:
    cpu.forget_images()

    installed = program("install", "-i", cpu.inventory)

    assert installed.exit == 0, installed.text
    assert labels(program).count(ASKED) == len(cpu.nodes)
    assert cpu.containers("node1") == []

    again = program("install", "-i", cpu.inventory)
    assert again.exit == 0, again.text
    assert "nothing changed" in again.text

    up = program("up", "-i", cpu.inventory)
    assert up.exit == 0, up.text
    assert not [label for label in labels(program) if "pull" in label or label == ASKED]
    assert program("down", "-i", cpu.inventory, "--yes").exit == 0


def test_the_packages_of_the_image_land_in_the_facts(cpu: Practice, program: Program) -> None:
    assert program("install", "-i", cpu.inventory).exit == 0
    before = cpu.fingerprint()

    facts = program("facts", "-i", cpu.inventory, "--only", "installed-packages", "--json").json()

    for name in cpu.nodes:
        told = facts[name]["installed-packages"]
        assert told["versions"]["vllm"] == "0.18.0+cpu"
        assert told["id"] == told["present"] != ""
    assert cpu.fingerprint() == before, "no container was started"


def test_one_node_can_be_installed_alone(cpu: Practice, program: Program) -> None:
    cpu.forget_images()

    assert program("install", "-i", cpu.inventory, "--limit", "node2").exit == 0

    assert [bool(cpu.docker(name, "images", "-q")) for name in cpu.nodes] == [False, True]
