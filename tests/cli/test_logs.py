"""The logs command refuses times and counts that docker would not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.cli import logs
from provision.diagnose.logs import Source
from provision.errors import UsageError
from provision.facts.docker import Container
from tests.scenarios.program import Program


@pytest.mark.parametrize(
    "text",
    ["10m", "1h30m", "90s", "1.5h", "2026-01-31", "2026-01-31T08:00:00Z", "2026-01-31T08:00:00.5+02:00", "1769846400"],
)
def test_times_that_docker_reads(text: str) -> None:
    assert logs._TIME.fullmatch(text)


@pytest.mark.parametrize("words", [("--since", "yesterday"), ("--since", "5 m"), ("--tail", "-3"), ("--tail", "x; y")])
def test_others_are_refused(words: tuple[str, str], program: Program, inventory: Path) -> None:
    answer = program("logs", "-i", inventory, *words)

    assert answer.exit == 2
    assert f"'{words[1]}' is not like" in answer.stderr


def source(process: str, group: str = "") -> Source:
    node: Any = None
    return Source(node, Container("c", f"qnext-qnext-{process}", process=process, group=group))


THERE = (source("replica0", "replica0"), source("d-head", "d"), source("d-worker1", "d"), source("router"))


@pytest.mark.parametrize(
    ("processes", "groups", "shown"),
    [
        ((), (), "replica0 d-head d-worker1 router"),
        (("router",), (), "router"),
        ((), ("d",), "d-head d-worker1"),
        (("router",), ("replica0",), "replica0 router"),
    ],
)
def test_processes_and_groups_are_chosen_by_name(processes: tuple[str], groups: tuple[str], shown: str) -> None:
    chosen = [s.container.process for s in THERE if logs._wanted(s.container, processes, groups)]
    assert chosen == shown.split()


@pytest.mark.parametrize(
    ("processes", "groups", "hint"),
    [(("worker9",), (), "replica0, d-head, d-worker1, router"), ((), ("p",), "replica0, d")],
)
def test_an_unknown_name_is_refused_with_the_known(processes: tuple[str], groups: tuple[str], hint: str) -> None:
    with pytest.raises(UsageError, match="has a log here") as caught:
        logs._require_known(THERE, processes, groups)
    assert caught.value.hint == f"there are: {hint}"
