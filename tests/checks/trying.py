"""Driving one trial with made-up answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from provision.actions import On
from provision.checks import runner
from provision.checks.policy import Choice
from provision.findings import CheckOutcome
from provision.results import Result

Answer = Callable[[On], Mapping[str, Result]]


def tried(cluster: Any, name: str, answer: Answer) -> CheckOutcome:
    """What the runner makes of the trial ``name`` alone, where the nodes answer so."""
    run = runner.run_trials(cluster, Choice(only=(name,)))
    answers: Mapping[str, Result] | None = None
    while True:
        try:
            group = run.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            (outcome,) = end.value
            assert isinstance(outcome, CheckOutcome)
            return outcome
        answers = answer(group)


def all_say(stdout: str = "", stderr: str = "", exit: int = 0) -> Answer:
    """Every node says the same."""
    return lambda group: {name: Result(action.label, exit, stdout, stderr) for name, action in group.actions.items()}


def summaries(outcome: CheckOutcome) -> list[str]:
    """Level and summary of each finding."""
    return [f"{finding.level} {finding.summary}" for finding in outcome.findings]
