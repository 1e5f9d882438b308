"""What follows where a process of a group dies: failing at once, or the whole group anew within the budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.errors import LaunchFailed, ProofFailed
from provision.events import GroupRestarted
from provision.modules import life
from provision.modules.base import Outcome
from provision.results import Result
from provision.serve import launch
from tests.modules.world import Driven, cluster, containers, drive, replicas, running, settings, well

RESTART: dict[str, Any] = {"on_failure": "restart-group", "restart_budget": 2}


def failing(times: int, error: Callable[[], Exception]) -> Callable[[], Any]:
    """A module that fails so many times before it ends well."""
    left = [times]

    def work() -> Any:
        yield from ()
        if left[0]:
            left[0] -= 1
            raise error()
        return Outcome("well")

    return work


def ended(process: str = "worker1") -> LaunchFailed:
    return LaunchFailed(f"{process} exited", node="atlas-2", process=process, hint="look", evidence="its last lines")


def performed(made: Any, work: Callable[[], Any]) -> Driven:
    """Drive ``work`` guarded; scripts that stop and start do what they say."""

    def perform(action: Any) -> Result:
        for node in made.nodes:
            found = node.facts["containers"].containers
            kept = [c for c in found if f"stop {c.name}" not in action.label]
            planned = launch.observed(made).scripts_of(node.name)
            new = [s for s in planned if action.label == f"start {s.process}"]
            fresh = running(cluster(made.settings, len(made.nodes))).nodes[node.index].facts["containers"].containers
            node.facts["containers"] = containers(*kept, *(c for c in fresh if c.process in {s.process for s in new}))
        return Result(action.label, 0, "")

    return drive(life.guarded(made, work), perform)


def test_what_goes_well_costs_nothing() -> None:
    assert drive(life.guarded(cluster(), failing(0, ended))).outcome.message == "well"


def test_fail_is_the_default() -> None:
    with pytest.raises(LaunchFailed, match=r"^worker1 exited$"):
        drive(life.guarded(running(cluster()), failing(1, ended)))


def test_the_whole_group_starts_anew_in_order(slept: list[float]) -> None:
    made = running(cluster(settings(**RESTART)))
    made.nodes[0].server.answers = well()

    driven = performed(made, failing(1, ended))

    assert [next(iter(step.values())) for step in driven.labels[:3]] == [
        "stop qnext-qnext-head",
        "stop qnext-qnext-worker1",
        "start head",
    ]
    assert driven.outcome.message == "well"
    (told,) = made.told
    assert isinstance(told, GroupRestarted)
    assert (told.group, told.processes, told.cause, told.number, told.budget) == (
        "the group",
        ("head", "worker1"),
        "worker1 exited",
        1,
        2,
    )


def test_a_replica_starts_anew_alone(slept: list[float]) -> None:
    made = running(replicas(**RESTART))

    driven = performed(made, failing(1, lambda: ended("replica1")))

    assert driven.labels == [
        {"atlas-2": "stop qnext-qnext-replica1"},
        {"atlas-2": "start replica1"},
        {"atlas-2": "wait until replica1 has started"},
    ]


def test_the_budget_is_the_runs_and_ends_with_all_causes(slept: list[float]) -> None:
    made = running(replicas(**RESTART))

    performed(made, failing(1, lambda: ended("replica1")))
    with pytest.raises(LaunchFailed, match="replica1 exited; restarted 2 times before, in vain") as caught:
        performed(made, failing(5, lambda: ended("replica1")))

    assert caught.value.evidence.count("replica1 exited") == 3
    assert "its last lines" in caught.value.evidence
    assert caught.value.hint == "look"
    assert len(made.restarts) == 2


def test_each_group_has_a_budget_of_its_own(slept: list[float]) -> None:
    made = running(replicas(on_failure="restart-group", restart_budget=1))

    performed(made, failing(1, lambda: ended("replica1")))
    performed(made, failing(1, lambda: ended("replica0")))

    assert [restart.processes for restart in made.restarts] == [("replica1",), ("replica0",)]


def test_no_budget_is_to_fail() -> None:
    with pytest.raises(LaunchFailed, match=r"^worker1 exited$"):
        drive(life.guarded(running(cluster(settings(on_failure="restart-group", restart_budget=0))), failing(1, ended)))


@pytest.mark.parametrize("process", ["router", ""])
def test_where_nobody_is_to_blame_nobody_restarts(process: str) -> None:
    made = running(replicas(**RESTART))

    with pytest.raises(ProofFailed):
        drive(life.guarded(made, failing(1, lambda: ProofFailed("no tokens", process=process))))

    assert made.restarts == []
