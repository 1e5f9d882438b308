"""Scenarios that hold on every kind of test node: each is given a program to call and the path of an inventory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol


class AnswerLike(Protocol):
    @property
    def exit(self) -> int: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...
    @property
    def text(self) -> str: ...
    def json(self) -> Any: ...


class ProgramLike(Protocol):
    def __call__(self, *words: str | Path) -> AnswerLike: ...


MOST_EXECS = 3
"""Commands that a run which changes nothing may send to a node in all."""


def comes_up(program: ProgramLike, inventory: Path) -> dict[str, Any]:
    """``up`` ends proven, and says where the cluster answers and what it said. Returns the report."""
    up = program("up", "-i", inventory, "--json")
    assert up.exit == 0, up.text
    report: dict[str, Any] = up.json()
    assert report["exit_code"] == 0
    assert report["result"]["endpoint"].startswith("http://")
    assert report["result"]["answer"].strip()
    assert report["result"]["endpoint"] in up.stderr
    assert report["result"]["answer"] in up.stderr
    return report


def up_again_changes_nothing(program: ProgramLike, inventory: Path) -> None:
    """A second ``up`` finds all as declared: no action, few commands, one connection a node."""
    again = program("up", "-i", inventory, "--json")
    assert again.exit == 0, again.text
    report = again.json()
    assert report["changed"] == 0
    for node, cost in report["execs"].items():
        assert cost["execs"] <= MOST_EXECS, f"{node}: {cost}"
        assert cost["connections"] == 1, f"{node}: {cost}"


def status_tells(program: ProgramLike, inventory: Path, processes: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """``status`` shows every process (node, name) running as declared and answering. Returns its JSON."""
    answer = program("status", "-i", inventory, "--json")
    assert answer.exit == 0, answer.text
    status: dict[str, Any] = answer.json()
    assert status["up"] is True
    assert [(p["node"], p["process"]) for p in status["processes"]] == list(processes)
    assert {p["state"] for p in status["processes"]} == {"running"}
    assert all(p["drift"] == [] and p["age"] is not None for p in status["processes"])
    assert status["processes"][0]["health"] == "answers"
    return status


def goes_down(program: ProgramLike, inventory: Path) -> None:
    """``down`` proves that nothing is left; once more changes nothing."""
    down = program("down", "-i", inventory, "--yes", "--json")
    assert down.exit == 0, down.text
    assert down.json()["changed"] > 0
    again = program("down", "-i", inventory, "--yes", "--json")
    assert again.exit == 0, again.text
    assert again.json()["changed"] == 0


def main_job(program: ProgramLike, inventory: Path, processes: Sequence[tuple[str, str]]) -> None:
    """From bare nodes to proven generation, and back."""
    check = program("check", "-i", inventory)
    assert check.exit == 0, check.text
    comes_up(program, inventory)
    up_again_changes_nothing(program, inventory)
    status_tells(program, inventory, processes)
    goes_down(program, inventory)
