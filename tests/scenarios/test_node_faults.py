"""A node that fails as a whole: out of reach, half made, full, or cut off in the middle."""

from __future__ import annotations

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

IMAGE = "quay.io/rehearsal/vllm-cpu:v0.18.0"


def test_one_unreachable_node_keeps_all_from_being_changed(cpu: Practice, program: Program) -> None:
    cpu.fault("node2", "ssh/stopped")
    before = cpu.fingerprint()

    up = program("up", "-i", cpu.inventory)

    assert up.exit == 4, up.text
    assert "node2" in up.stderr
    assert "refused" in up.stderr
    assert "remedy" in up.stderr
    assert cpu.fingerprint() == before


def test_down_with_an_unreachable_node_cleans_the_others_and_says_so(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    cpu.fault("node2", "ssh/stopped")

    down = program("down", "-i", cpu.inventory, "--yes")

    assert down.exit == 4, down.text
    assert cpu.containers("node1") == []
    assert not (cpu.root("node1") / "var/lib/qnext").exists()
    assert cpu.containers("node2") == ["qnext-rehearsal-worker1"]
    last = down.stderr.split("== prove")[-1]
    assert "node2" in last, "what could not be proven is said at the end"

    cpu.mend("node2", "ssh/stopped")
    assert program("down", "-i", cpu.inventory, "--yes").exit == 0
    assert cpu.containers("node2") == []


def test_down_of_a_half_made_cluster(cpu: Practice, program: Program) -> None:
    cpu.have_images(IMAGE)
    cpu.docker("node2", "run", "-d", "--name", "qnext-rehearsal-worker7", "--label", "qnext.cluster=rehearsal",
               "--label", "qnext.process=worker7", IMAGE, "sleep", "600")  # fmt: skip
    cpu.docker("node2", "run", "-d", "--name", "neighbour", IMAGE, "sleep", "600")
    (cpu.root("node1") / "var/lib/qnext/rehearsal/launch").mkdir(parents=True)

    down = program("down", "-i", cpu.inventory, "--yes")

    assert down.exit == 0, down.text
    assert cpu.containers("node2") == ["neighbour"], "what carries no label of ours is not touched"
    assert not (cpu.root("node1") / "var/lib/qnext").exists()


def pull_log(nodes: Practice, name: str) -> bytes:
    return nodes.files(name).get("rehearsal/jobs/pull-quay.io-rehearsal-vllm-cpu-v0.18.0/log", b"")


def test_a_full_disk_during_the_pull(cpu: Practice, program: Program) -> None:
    cpu.forget_images()
    cpu.fault("node2", "docker/pull_seconds_per_layer", "0.4")
    with program.start("up", "-i", cpu.inventory) as started:
        eventually(lambda: b"Downloading" in pull_log(cpu, "node2"), "node2 pulls")
        cpu.fault("node2", "disk/full")
        up = started.ended()

    assert up.exit == 1, up.text
    assert "no space left on device" in up.stderr.lower()
    assert "node2" in up.stderr
    assert "remedy" in up.stderr
    assert not any(cpu.containers(name) for name in cpu.nodes)


@pytest.mark.parametrize("moment", ["docker pull", "qnext.digest", "head.sh"])
def test_a_connection_that_breaks_in_the_middle(moment: str, cpu: Practice, program: Program) -> None:
    """Whatever was under way, the run ends proven or with one clear error, and the next ``up`` converges."""
    cpu.forget_images()
    cpu.fault("node1", "ssh/drop_at", moment)

    first = program("up", "-i", cpu.inventory)
    assert first.exit in (0, 4), first.text
    if first.exit:
        assert "node1" in first.stderr
    shared.comes_up(program, cpu.inventory)

    assert cpu.containers("node1") == ["qnext-rehearsal-head"]
    assert cpu.containers("node2") == ["qnext-rehearsal-worker1"]
