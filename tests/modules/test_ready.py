"""Waiting for every API while every process is watched, and what is shown meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from provision import clock
from provision.errors import LaunchFailed
from provision.events import Note, PhaseReached, StartMeasured
from provision.facts.docker import ContainersValue
from provision.facts.logs import LogTailsValue
from provision.http import Response
from provision.modules import ready
from tests.modules.world import REFUSED, Desk, cluster, container, containers, drive, replicas, running, well

LOADING = "Loading safetensors checkpoint shards:  40% Completed | 4/10"


def tails(**logs: str) -> dict[str, Any]:
    """What a look finds in the logs."""
    return {"log-tails": LogTailsValue(logs)}


def test_a_head_that_answers_at_once(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = well()

    assert drive(ready.run(ready.Args(), made)).outcome.message == "http://10.0.0.1:8000 answers"
    assert slept == []
    assert made.told == []


def test_looks_come_quickly_at_first(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = well() | {"/health": [*[REFUSED] * 12, Response(200)]}
    made.nodes[1].facts |= tails(worker1="Loading safetensors checkpoint shards:  37%")

    outcome = drive(ready.run(ready.Args(), made)).outcome

    assert outcome.message.startswith("http://10.0.0.1:8000 answers after ")
    assert slept[0] < 0.5
    assert slept[-1] == ready.LOOK_EVERY
    assert made.nodes[1].observed == len(slept), "a look is one exec"
    assert made.nodes[1].shown[-1].startswith("loading weights 37 %, 1")


@dataclass
class Hanging(Desk):
    """A server that takes a request and never answers: whoever asks waits as long as it wants to."""

    def get(self, path: str, *, timeout: float = 10.0, token: str = "") -> Response:
        clock.sleep(timeout)
        return Response(0, error="no answer")


def test_a_process_that_ends_is_known_within_five_seconds_even_where_another_hangs(slept: list[float]) -> None:
    made = running(cluster())
    head, worker = made.nodes
    head.server = Hanging()
    ended = {"containers": containers(container("worker1", state="exited", exit_code=137))}
    worker.steps = [{}, {}, {}, {}, {}, {}, {}, ended]

    looks, observe = [0.0], worker.observe

    def noted(facts: Any) -> None:
        looks.append(clock.monotonic())
        observe(facts)

    worker.observe = noted
    with pytest.raises(LaunchFailed, match="worker1 exited with exit status 137"):
        drive(ready.run(ready.Args(), made))

    assert len(looks) > 8
    assert max(later - earlier for earlier, later in pairwise(looks)) <= 5.0


def test_every_server_must_answer_then_the_router(slept: list[float]) -> None:
    made = running(replicas())
    made.nodes[0].facts["containers"] = containers(container("replica0"))
    late = made.nodes[1].desks[8100]
    late.answers = well() | {"/health": [REFUSED, Response(200)]}
    router = made.nodes[0].desks[8000]
    answers, router.answers = router.answers, {}

    servers = drive(ready.run(ready.Args(part="servers"), made)).outcome
    assert servers.message == "2 servers answer"
    assert len(slept) == 1

    with pytest.raises(LaunchFailed, match="router has no container"):
        drive(ready.run(ready.Args(part="front"), made))
    running(made)
    with pytest.raises(LaunchFailed, match=r"router is not ready: /\w+: nothing listens"):
        drive(ready.run(ready.Args(part="front", timeout=5), made))
    router.answers = answers
    assert drive(ready.run(ready.Args(part="front"), made)).outcome.message == "http://10.0.0.1:8000 answers"


def test_a_docker_that_does_not_answer_is_no_ended_process() -> None:
    made = running(cluster())
    made.nodes[0].server.answers = well()
    made.nodes[1].facts["containers"] = ContainersValue(problems=("docker did not answer",))

    assert drive(ready.run(ready.Args(), made)).outcome.message == "http://10.0.0.1:8000 answers"


def test_without_a_router_there_is_nothing_to_wait_for() -> None:
    assert drive(ready.run(ready.Args(part="front"), running(cluster()))).outcome.skipped


def test_phases_are_told_once_and_measured(slept: list[float]) -> None:
    made = running(cluster())
    head, worker = made.nodes
    head.server.answers = well() | {"/health": [*[REFUSED] * 4, Response(200)]}
    head.steps = [tails(head="vLLM API server version 1"), tails(head=LOADING), {}, tails(head="Uvicorn running on x")]
    worker.steps = [tails(worker1="Launching 1 data parallel engine(s)"), tails(worker1=LOADING), {}, {}]

    drive(ready.run(ready.Args(), made))

    told = [(e.process, e.phase) for e in made.told if isinstance(e, PhaseReached)]
    assert told == [
        ("worker1", "joining"),
        ("head", "loading weights"),
        ("worker1", "loading weights"),
        ("head", "ready"),
    ]
    (measured,) = [event for event in made.told if isinstance(event, StartMeasured)]
    assert list(measured.durations) == [
        "head: starting",
        "head: loading weights",
        "worker1: starting",
        "worker1: joining",
    ]
    assert measured.launch


def test_a_start_that_was_under_way_is_not_measured(slept: list[float]) -> None:
    began = {"started": "2020-01-01T00:00:00.000000000Z"}
    made = running(cluster(), head=began, worker1=began)
    made.nodes[0].server.answers = well() | {"/health": [REFUSED, Response(200)]}
    made.nodes[0].steps = [tails(head=LOADING)]

    drive(ready.run(ready.Args(), made))

    assert not any(isinstance(event, StartMeasured) for event in made.told)


def test_what_is_usual_is_shown_and_what_is_not_is_named_once(slept: list[float]) -> None:
    made = running(cluster())
    made.earlier = {"worker1: loading weights": 20.0}
    made.nodes[0].server.answers = well() | {"/health": [*[REFUSED] * 60, Response(200)]}
    made.nodes[1].facts |= tails(worker1=LOADING)

    drive(ready.run(ready.Args(), made))

    assert made.nodes[1].shown[8] == "loading weights 40 % (4/10), 13 s, usually 20 s"
    (note,) = [event.text for event in made.told if isinstance(event, Note)]
    assert note.startswith("worker1 on atlas-2: loading weights 40 % (4/10) for 5")
    assert "usually 20 s" in note


def test_a_process_that_ends_is_told_at_once(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[1].steps = [{}, {"containers": containers(container("worker1", state="exited", exit_code=137))}]

    with pytest.raises(LaunchFailed, match="worker1 exited with exit status 137") as caught:
        drive(ready.run(ready.Args(), made))

    assert (caught.value.node, caught.value.process) == ("atlas-2", "worker1")
    assert sum(slept) < 5


def test_patience_ends_and_says_what_each_was_doing(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[1].facts |= tails(worker1=LOADING)

    with pytest.raises(LaunchFailed, match=r"head is not ready: /health: nothing listens, 6. s after it") as caught:
        drive(ready.run(ready.Args(timeout=60), made))

    assert "worker1: loading weights 40 % (4/10), 6" in caught.value.message


def test_a_dead_server_is_not_waited_for(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [Response(500, b"dead")]}

    with pytest.raises(LaunchFailed, match="HTTP 500"):
        drive(ready.run(ready.Args(), made))

    assert slept == []


def test_what_only_an_operator_can_change_ends_the_wait(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [Response(0, error="refused", hint="AllowTcpForwarding yes")]}

    with pytest.raises(LaunchFailed, match="AllowTcpForwarding"):
        drive(ready.run(ready.Args(), made))

    assert slept == []
