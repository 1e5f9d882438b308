"""The status: every declared process and every container of ours, with age, health and drift."""

from __future__ import annotations

from typing import Any

import pytest

from provision.evaluate.status import ClusterStatus, GroupStatus, ProcessStatus, status
from provision.facts.docker import ContainersValue
from provision.facts.router import RouterChoiceValue
from provision.facts.system import ClockValue
from provision.http import Response
from provision.inventory.model import Connection, Host, Inventory
from provision.serve import launch
from tests.checks.world import FakeCluster
from tests.modules.world import cluster, container, containers, running, settings


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
    assert found.absent


def test_where_docker_does_not_answer_nothing_is_known() -> None:
    made = running(cluster())
    made.nodes[1].facts["containers"] = ContainersValue(problems=("docker did not answer",))
    found = status(made, inventory(made))
    assert {row.process: row.state for row in found.processes}["worker1"] == "unknown"
    assert not found.absent


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


# ---- several servers


def replicas(**serve: Any) -> Any:
    """Two nodes with two servers each, and a router on the first; all run and answer."""
    made = running(cluster(settings(topology="replicas", data_parallel_size=1, replicas_per_node=2, **serve)))
    paths = {process.health for process in launch.observed(made).plan.processes}
    for node in made.nodes:
        node.server.answers = {path: [Response(200)] for path in (*paths, "/v1/models")}
    return made


def without(made: Any, node: int, process: str) -> Any:
    there = made.nodes[node].facts["containers"].containers
    made.nodes[node].facts["containers"] = containers(*(c for c in there if c.process != process))
    return made


def test_replicas_are_groups_of_their_own() -> None:
    found = seen(replicas())

    assert found.up
    assert [(g.name, g.serviceable) for g in found.groups] == [(f"replica{n}", True) for n in range(4)]
    rows = {p.process: p for p in found.processes}
    assert (rows["router"].kind, rows["router"].group, rows["router"].api) == ("router", "", 8000)
    assert (rows["replica1"].kind, rows["replica1"].group, rows["replica1"].api) == ("server", "replica1", 8101)


def test_a_lost_replica_degrades_the_cluster_and_no_more() -> None:
    found = seen(without(replicas(), 1, "replica3"))

    assert (found.up, found.degraded) == (False, ("replica3",))
    assert [g.serviceable for g in found.groups] == [True, True, True, False]


def test_without_its_router_no_request_is_answered() -> None:
    found = seen(without(replicas(), 0, "router"))
    assert (found.up, found.degraded, found.outage) == (False, (), "router on atlas-1 is missing")


def test_where_nothing_is_there_nothing_is_degraded() -> None:
    found = seen(cluster(settings(topology="replicas", data_parallel_size=1)))
    assert (found.up, found.absent, found.degraded, found.outage) == (False, True, (), "")


def sides(*states: str) -> ClusterStatus:
    """Two prefill groups, two decode groups and their proxy, each of one process, in these states."""
    names = ("prefill0", "prefill1", "decode0", "decode1")
    servers = [
        ProcessStatus("a", name, state, kind="server", group=name, role=name[:-1])
        for name, state in zip(names, states, strict=True)
    ]
    groups = [GroupStatus(p.group, p.role, (p.process,), p.serves, () if p.serves else (p.process,)) for p in servers]
    router = ProcessStatus("a", "router", "running", "answers", kind="router")
    return ClusterStatus("qnext", "", "", (router, *servers), groups=tuple(groups))


@pytest.mark.parametrize(
    ("states", "degraded", "outage"),
    [
        (("running",) * 4, (), ""),
        (("exited", "running", "running", "missing"), ("prefill0", "decode1"), ""),
        (
            ("exited", "missing", "running", "running"),
            (),
            "no prefill group serves: prefill0 on a has exited, prefill1 on a is missing",
        ),
        (("unknown", "missing", "running", "running"), (), ""),
    ],
    ids=["up", "one of each side", "no prefill", "one of a side out of sight"],
)
def test_a_request_takes_a_group_of_each_role(states: tuple[str, ...], degraded: object, outage: str) -> None:
    found = sides(*states)
    assert (found.degraded, found.outage) == (degraded, outage)


def test_of_many_that_are_to_blame_some_are_named() -> None:
    rows = [ProcessStatus("a", f"rank{n}", "exited", kind="server") for n in range(5)]
    names = tuple(row.process for row in rows)
    found = ClusterStatus("qnext", "", "", tuple(rows), groups=(GroupStatus("", "", names, False, names),))
    assert found.outage == "rank0 on a has exited, rank1 on a has exited, rank2 on a has exited and 2 more"


def test_a_group_serves_only_as_a_whole() -> None:
    made = without(running(cluster()), 1, "worker1")
    made.nodes[0].server.answers = {path: [Response(200)] for path in ("/health", "/v1/models")}

    (group,) = seen(made).groups

    assert (group.serviceable, group.missing, group.processes) == (False, ("worker1",), ("head", "worker1"))


def test_of_a_group_that_is_not_all_in_sight_the_rest_is_counted() -> None:
    made = running(cluster())
    part: Any = FakeCluster(made.nodes[1:])

    (group,) = status(part, inventory(made)).groups

    assert (group.serviceable, group.unseen) == (True, 1)


@pytest.mark.parametrize(
    ("router", "said", "told"),
    [
        ({}, "vllm-router", "vllm-router"),
        ({}, "the built-in one", "built-in"),
        ({}, "", ""),
        ({"kind": "built-in"}, "nginx", "built-in"),
    ],
)
def test_a_router_says_which_it_is(router: dict[str, str], said: str, told: str) -> None:
    made = running(cluster(settings(topology="replicas", data_parallel_size=1, router=router)))
    made.nodes[0].facts["router-choice"] = RouterChoiceValue(said)

    assert {p.process: p.router for p in seen(made).processes} == {"router": told, "replica0": "", "replica1": ""}
