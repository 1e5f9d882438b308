"""The status: every declared process and every container of ours, with age, health and drift."""

from __future__ import annotations

from typing import Any

import pytest

from provision.evaluate.status import ClusterStatus, ProcessStatus, status
from provision.facts.docker import ContainersValue
from provision.facts.system import ClockValue
from provision.http import Response
from provision.inventory.model import Connection, Host, Inventory
from tests.checks.world import FakeCluster
from tests.modules.world import cluster, container, containers, running


def inventory(made: Any, address: str = "10.0.0.{}") -> Inventory:
    hosts = [
        Host(n.name, n.index, ("all",), Connection(host=address.format(n.index + 1)), n.settings) for n in made.nodes
    ]
    return Inventory("cluster.yaml", tuple(hosts), {})


def seen(made: Any, **more: Any) -> ClusterStatus:
    return status(made, inventory(made), **more)


def test_a_cluster_that_is_up() -> None:
    made = running(cluster(), head={"started": "2026-09-21T14:13:20.123456789Z"})
    made.nodes[0].facts["clock"] = ClockValue(epoch=1_790_000_100.0)
    made.nodes[0].server.answers = {"/health": [Response(200)], "/v1/models": [Response(200, b"{}")]}

    found = seen(made)

    assert found.up
    assert (found.endpoint, found.problem) == ("http://10.0.0.1:8000", "")
    head, worker = found.processes
    assert (head.node, head.process, head.state, head.health, head.drift) == (
        "atlas-1",
        "head",
        "running",
        "answers",
        (),
    )
    assert head.age == pytest.approx(99.9, abs=0.1)
    assert (worker.process, worker.health, worker.age) == ("worker1", "-", None)


@pytest.mark.parametrize(
    ("answer", "health"), [(Response(503, b"x"), "dead"), (Response(0, error="refused"), "no answer yet")]
)
def test_a_head_that_does_not_answer(answer: Response, health: str) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [answer]}

    found = seen(made)

    assert found.processes[0].health == health
    assert not found.up


def test_nothing_there() -> None:
    found = seen(cluster())

    assert [(p.process, p.state, p.drift) for p in found.processes] == [
        ("head", "missing", ("not started",)),
        ("worker1", "missing", ("not started",)),
    ]
    assert not found.up


def test_ended_foreign_and_differing() -> None:
    made = running(cluster(), head={"state": "exited", "exit_code": 137}, worker1={"digest": "0" * 16})
    value = made.nodes[1].facts["containers"]
    made.nodes[1].facts["containers"] = ContainersValue((*value.containers, container("worker9")), reachable=True)

    head, worker, stray = seen(made).processes

    assert (head.state, head.exit_code, head.drift[0]) == ("exited", 137, "exited with exit status 137")
    assert worker.drift[0].startswith("launched as 0000000000000000, declared ")
    assert (stray.process, stray.drift) == ("worker9", ("not declared on this node",))


def test_a_part_of_the_nodes_is_compared_with_the_whole_layout() -> None:
    made = running(cluster())
    part: Any = FakeCluster(made.nodes[1:])

    limited = status(part, inventory(made))
    lost = status(part, inventory(made), ["atlas-1"])

    assert [(p.process, p.drift) for p in limited.processes] == [("worker1", ())]
    assert limited.up
    assert [(p.node, p.state) for p in lost.processes] == [("atlas-1", "unknown"), ("atlas-2", "running")]
    assert not lost.up


def test_a_part_whose_layout_cannot_be_known_says_so() -> None:
    made = running(cluster())
    part: Any = FakeCluster(made.nodes[1:])

    found = status(part, inventory(made, "node{}.example"))

    assert "is not known without asking the node" in found.problem
    assert [(p.process, p.state) for p in found.processes] == [("worker1", "running")]


def test_up_needs_a_process() -> None:
    assert not ClusterStatus("qnext", "", "", ()).up
    assert ClusterStatus("qnext", "", "", (ProcessStatus("a", "head", "running", "answers"),)).up
    assert not ClusterStatus("qnext", "", "", (ProcessStatus("a", "head", "running", drift=("x",)),)).up


def test_a_container_without_a_start_has_no_age() -> None:
    made = running(cluster())
    made.nodes[0].facts["containers"] = containers(container("head", started="0001-01-01T00:00:00Z"))

    assert seen(made).processes[0].age is not None
    made.nodes[0].facts["containers"] = containers(container("head", started="soon"))
    assert seen(made).processes[0].age is None
