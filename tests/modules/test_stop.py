"""Stopping: all or nothing, the head first, and each log is kept before its container goes."""

from __future__ import annotations

from provision.http import Response
from provision.modules import stop
from tests.modules.world import cluster, containers, drive, running

HEAD_FIRST = [{"atlas-1": "stop qnext-qnext-head"}, {"atlas-2": "stop qnext-qnext-worker1"}]


def differing(**more: object) -> stop.Args:
    return stop.Args.model_validate({"only": "differing", **more})


def healthy(made: object) -> object:
    made.nodes[0].server.answers = {"/health": [Response(200)], "/v1/models": [Response(200, b"{}")]}  # type: ignore[attr-defined]
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
    driven = drive(stop.run(differing(), healthy(running(cluster()))))  # type: ignore[arg-type]

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
    assert "the server is dead: /health: HTTP 503" in driven.outcome.message


def test_one_that_does_not_answer_yet_is_left_to_load() -> None:
    assert drive(stop.run(differing(), running(cluster()))).actions == []


def test_restart_stops_what_runs_as_declared() -> None:
    assert drive(stop.run(differing(restart=True), running(cluster()))).labels == HEAD_FIRST
