"""Routers in a cluster that comes up: an image of their own, and the choice that a container makes by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

NGINX = "nginx:1.28"


def replicas(nodes: Practice, **router: str) -> Path:
    return nodes.write_inventory(serve={"topology": "replicas", "data_parallel_size": None, "router": router})


def test_its_own_image_is_there_before_anything_starts(cpu: Practice, program: Program) -> None:
    refused = program("up", "-i", replicas(cpu, kind="nginx", image="nginx:no-such", node="node2"), "--json")

    (error,) = refused.json()["errors"].values()
    assert (refused.exit, error["node"]) == (1, "node2"), refused.text
    assert "correct qnext.serve.router.image" in error["hint"]
    assert [cpu.containers(node) for node in cpu.nodes] == [[], []]

    inventory = replicas(cpu, kind="nginx", image=NGINX, node="node2")
    report = shared.comes_up(program, inventory)
    assert report["result"]["router"] == "nginx, router on node2"
    assert [NGINX in cpu.docker(node, "images", "--format", "{{.Repository}}:{{.Tag}}") for node in cpu.nodes] == [
        False,
        True,
    ]
    shared.up_again_changes_nothing(program, inventory)
    shared.goes_down(program, inventory)


def test_what_a_container_chose_is_told(cpu: Practice, program: Program) -> None:
    inventory = replicas(cpu)

    assert shared.comes_up(program, inventory)["result"]["router"] == "built-in, router on node1"
    shared.up_again_changes_nothing(program, inventory)
    status = shared.status_tells(
        program, inventory, [("node1", "replica0"), ("node1", "router"), ("node2", "replica1")]
    )
    assert [p["router"] for p in status["processes"]] == ["", "built-in", ""]
