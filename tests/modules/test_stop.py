"""Stopping: by groups, the head first, and each log is kept before its container goes."""

from __future__ import annotations

import pytest

from provision.errors import UsageError
from provision.http import Response
from provision.modules import stop
from tests.modules.world import cluster, container, containers, dead, drive, replicas, running

HEAD_FIRST = [{"atlas-1": "stop qnext-qnext-head"}, {"atlas-2": "stop qnext-qnext-worker1"}]


def differing(**more: object) -> stop.Args:
    return stop.Args.model_validate({"only": "differing", **more})


def healthy(made: object) -> object:
    made.nodes[0].server.answers = {"/health": [Response(200)], "/v1/models": [Response(200, b"{}")]}
    return made


def test_nothing_there() -> None:
    driven = drive(stop.run(stop.Args(), cluster()))

    assert driven.actions == []
    assert driven.outcome.message == "no process of this cluster is there"


def test_all_the_head_first() -> None:
    made = running(cluster())
    made.nodes[0].texts = "==> qnext process head\nlast words\n"

    driven = drive(stop.run(stop.Args(grace=7), made))

    assert driven.labels == HEAD_FIRST
    run = driven.actions[0].actions["atlas-1"]
    assert run.script == "docker stop -t 7 qnext-qnext-head || :\ndocker rm -f qnext-qnext-head\n"
    assert run.deadline > 7
    assert made.nodes[0].kept == {"head.log": "last words\n"}


def test_nothing_that_runs_as_declared() -> None:
    driven = drive(stop.run(differing(), healthy(running(cluster()))))

    assert driven.actions == []
    assert driven.outcome.message == "every process runs as declared"


def test_one_that_differs_takes_the_group_with_it() -> None:
    driven = drive(stop.run(differing(), running(cluster(), worker1={"digest": "0" * 16})))

    assert driven.labels == HEAD_FIRST
    assert "worker1 on atlas-2: launched as 0000000000000000" in driven.outcome.message


def test_a_missing_one_takes_the_rest_with_it() -> None:
    made = running(cluster())
    made.nodes[1].facts["containers"] = containers()

    driven = drive(stop.run(differing(), made))

    assert driven.labels == HEAD_FIRST[:1]
    assert "worker1 on atlas-2 is missing" in driven.outcome.message


def test_a_server_that_says_it_is_dead() -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [Response(503, b"EngineDeadError")]}

    driven = drive(stop.run(differing(), made))

    assert driven.labels == HEAD_FIRST
    assert "head is dead: /health: HTTP 503" in driven.outcome.message


def test_only_the_replica_that_differs_stops() -> None:
    made = running(replicas(), replica1={"state": "exited", "exit_code": 137})

    driven = drive(stop.run(differing(), made))

    assert driven.labels == [{"atlas-2": "stop qnext-qnext-replica1"}]
    assert driven.outcome.message == "1 over all nodes stopped: replica1 on atlas-2: exited with exit status 137"


def test_reasons_are_those_of_what_was_stopped() -> None:
    made = running(replicas(), replica1={"digest": "0" * 16})
    there = made.nodes[0].facts["containers"].containers
    made.nodes[0].facts["containers"] = containers(*(c for c in there if c.process != "replica0"))

    told = drive(stop.run(differing(), made)).outcome.message

    assert told.startswith("1 over all nodes stopped: replica1 on atlas-2: launched as 0000000000000000, declared ")
    assert "replica0" not in told


def test_a_dead_replica_stops_alone() -> None:
    made = running(replicas())
    made.nodes[1].desks[8100].answers = dead()

    assert drive(stop.run(differing(), made)).labels == [{"atlas-2": "stop qnext-qnext-replica1"}]


def test_a_router_without_servers_is_not_dead() -> None:
    made = running(replicas())
    router = made.nodes[0].desks[8000]
    router.answers = {path: [Response(503, b"no server")] for path in router.answers}

    assert drive(stop.run(differing(), made)).actions == []


def test_what_is_no_longer_declared_goes() -> None:
    made = running(replicas())
    value = made.nodes[1].facts["containers"]
    made.nodes[1].facts["containers"] = containers(*value.containers, container("replica9"))

    driven = drive(stop.run(differing(), made))

    assert driven.labels == [{"atlas-2": "stop qnext-qnext-replica9"}]
    assert "replica9 on atlas-2: not declared on this node" in driven.outcome.message


def test_the_router_goes_first_and_headless_ranks_last() -> None:
    made = running(replicas())
    ranks = [container("decode-head", group="decode"), container("decode-worker1", group="decode", headless=True)]
    made.nodes[1].facts["containers"] = containers(*ranks, container("pool"))

    assert drive(stop.run(stop.Args(), made)).labels == [
        {"atlas-1": "stop qnext-qnext-router"},
        {"atlas-1": "stop qnext-qnext-replica0", "atlas-2": "stop qnext-qnext-decode-head"},
        {"atlas-2": "stop qnext-qnext-decode-worker1"},
        {"atlas-2": "stop qnext-qnext-pool"},
    ]


def test_a_group_by_name_and_those_that_are_dead() -> None:
    made = running(replicas(nodes=3), replica2={"state": "exited"})

    driven = drive(stop.run(differing(groups=["replica1"], restart=True), made))

    assert driven.labels == [{"atlas-2": "stop qnext-qnext-replica1", "atlas-3": "stop qnext-qnext-replica2"}]
    assert "replica2 on atlas-3 has ended" in driven.outcome.message


def test_a_process_of_the_only_group_names_all_of_it() -> None:
    made = healthy(running(cluster()))

    assert drive(stop.run(differing(groups=["worker1"]), made)).labels == HEAD_FIRST


@pytest.mark.parametrize(
    ("name", "hint"), [("replika1", "did you mean 'replica1'?"), ("x", "replica0, replica1, router")]
)
def test_an_unknown_group(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="has no group") as caught:
        drive(stop.run(differing(groups=[name]), running(replicas())))

    assert hint in caught.value.hint


def test_one_that_does_not_answer_yet_is_left_to_load() -> None:
    assert drive(stop.run(differing(), running(cluster()))).actions == []


def test_restart_stops_what_runs_as_declared() -> None:
    assert drive(stop.run(differing(restart=True), running(cluster()))).labels == HEAD_FIRST
