"""Driving one trial with made-up answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

from provision.actions import On
from provision.checks import runner
from provision.checks.policy import Choice
from provision.findings import CheckOutcome
from provision.results import ActionResult, Result

T = TypeVar("T")
Answer = Callable[[On], Mapping[str, Result]]


def driven(run: Generator[On, Mapping[str, ActionResult], T], answer: Answer) -> T:
    """What a trial returns, where the nodes answer so to what it yields."""
    try:
        group = next(run)
        while True:
            group = run.send(answer(group))
    except StopIteration as end:
        returned: T = end.value
        return returned


def tried(cluster: Any, name: str, answer: Answer) -> CheckOutcome:
    """What the runner makes of the trial ``name`` alone, where the nodes answer so."""
    (outcome,) = driven(runner.run_trials(cluster, Choice(only=(name,))), answer)
    return outcome


def all_say(stdout: str = "", stderr: str = "", exit: int = 0) -> Answer:
    """Every node says the same."""
    return lambda group: {name: Result(action.label, exit, stdout, stderr) for name, action in group.actions.items()}


def summaries(outcome: CheckOutcome) -> list[str]:
    """Level and summary of each finding."""
    return [f"{finding.level} {finding.summary}" for finding in outcome.findings]
