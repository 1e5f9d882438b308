"""Watching: what changes is told, what fails is acted on, and busy is not dead."""

from __future__ import annotations

import pytest

from provision.errors import LaunchFailed
from provision.events import ProcessChanged
from provision.facts.docker import ContainersValue
from provision.http import Response
from provision.modules import watch
from tests.modules.world import REFUSED, cluster, container, containers, dead, drive, replicas, running


def told(made: object) -> list[tuple[str, str]]:
    return [(e.process, e.state) for e in made.told if isinstance(e, ProcessChanged)]


def test_all_well_until_the_time_is_over(slept: list[float]) -> None:
    made = running(replicas())

    outcome = drive(watch.run(watch.Args(seconds=12), made)).outcome

    assert outcome.message == "3 processes watched for 12 s, none failed"
    assert told(made) == [("replica0", "answers"), ("replica1", "answers"), ("router", "answers")]
    assert sum(slept) == 12
    assert made.nodes[0].observed == 2, "one exec a look"


def test_one_that_only_does_not_answer_is_told_and_left_alone(slept: list[float]) -> None:
    made = running(replicas())
    made.nodes[1].desks[8100].answers |= {"/health": [Response(200), REFUSED, Response(200)]}

    drive(watch.run(watch.Args(seconds=12), made))

    assert told(made)[3:] == [("replica1", "does not answer: /health: nothing listens"), ("replica1", "answers")]


def test_a_headless_rank_that_ends_fails_the_group(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[1].steps = [{}, {"containers": containers(container("worker1", state="exited", exit_code=137))}]

    with pytest.raises(LaunchFailed, match="worker1 exited with exit status 137"):
        drive(watch.run(watch.Args(), made))

    assert told(made)[-1] == ("worker1", "exited with exit status 137")


def test_a_server_that_says_it_is_dead_has_failed(slept: list[float]) -> None:
    made = running(replicas())
    made.nodes[1].desks[8100].answers = dead()

    with pytest.raises(LaunchFailed, match="replica1 is not ready: /health: HTTP 503"):
        drive(watch.run(watch.Args(), made))


def test_a_docker_that_does_not_answer_is_told_and_left_alone(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [Response(200)]}
    made.nodes[1].facts["containers"] = ContainersValue(problems=("docker did not answer",))

    drive(watch.run(watch.Args(seconds=3), made))

    assert ("worker1", "not known: docker does not answer") in told(made)


def test_there_must_be_something_to_watch() -> None:
    with pytest.raises(LaunchFailed, match="no process of cluster qnext is there") as caught:
        drive(watch.run(watch.Args(), cluster()))

    assert "up" in caught.value.hint
