"""The logs command: what it takes and refuses, before any connection; which processes are meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.cli.logs import Choice
from provision.cli.moments import moment
from provision.diagnose.logs import Source
from provision.errors import UsageError
from provision.facts.docker import Container
from tests.scenarios.program import Program

NOW = 1769846400.0
"""2026-01-31T08:00:00Z."""


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("1.5h", NOW - 5400),
        ("500ms", NOW - 0.5),
        ("2026-01-31T08:00:00Z", NOW),
        ("2026-01-31T10:00:00.5+02:00", NOW + 0.5),
        ("2026-01-31 16:00 Asia/Shanghai", NOW),
        ("16:00+08:00", NOW),
        ("2026-01-31Z", NOW - 8 * 3600),
        ("1769846400", NOW),
    ],
)
def test_times_that_are_read(text: str, at: float) -> None:
    assert moment(text, NOW) == at


def test_a_time_without_a_zone_is_of_this_machine() -> None:
    assert moment("2026-01-31T08:00:00", NOW) == moment("08:00", moment("2026-01-31T12:00", NOW))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--since", "yesterday"), "'yesterday' is not like 10m"),
        (("--since", "5 m"), "'5 m' is not like"),
        (("--since", "25:99"), "'25:99'"),
        (("--until", "2026-01-31 08:00 Mars/Base"), "no time zone 'Mars/Base'"),
        (("--tail", "-3"), "'-3' is not like 50 or all"),
        (("--tail", "x; y"), "'x; y' is not like"),
        (("--grep", "("), "'(' is no regular expression"),
        (("--level", "loud"), "loud"),
        (("collet",), "no command 'collet' of `logs`: there is `collect`"),
        (("--invert-match",), "--invert-match is for --grep"),
        (("--since", "10m", "--until", "20m"), "--until is not after --since"),
    ],
)
def test_others_are_refused(words: tuple[str, ...], said: str, program: Program, inventory: Path) -> None:
    answer = program("logs", "-i", inventory, *words)

    assert answer.exit == 2
    assert said in answer.stderr


def test_without_an_inventory(program: Program) -> None:
    assert program("logs").exit == 2
    assert "--inventory" in program("logs").stderr


def source(process: str, group: str = "") -> Source:
    node: Any = None
    return Source(node, Container("c", f"qnext-qnext-{process}", process=process, group=group))


THERE = (source("replica0", "replica0"), source("d-head", "d"), source("d-worker1", "d"), source("router"))


@pytest.mark.parametrize(
    ("processes", "groups", "shown"),
    [
        ((), (), "replica0 d-head d-worker1 router"),
        (("router",), (), "router"),
        (("d-*",), (), "d-head d-worker1"),
        ((), ("d",), "d-head d-worker1"),
        (("router",), ("replica*",), "replica0 router"),
    ],
)
def test_processes_and_groups_are_chosen_by_name(processes: tuple[str], groups: tuple[str], shown: str) -> None:
    choice = Choice(processes, groups)
    assert [s.container.process for s in THERE if choice.holds(s.container)] == shown.split()


@pytest.mark.parametrize(
    ("processes", "groups", "hint"),
    [(("worker9*",), (), "replica0, d-head, d-worker1, router"), ((), ("p",), "replica0, d")],
)
def test_an_unknown_name_is_refused_with_the_known(processes: tuple[str], groups: tuple[str], hint: str) -> None:
    with pytest.raises(UsageError, match="has a log here") as caught:
        Choice(processes, groups).require_known(THERE)
    assert caught.value.hint == f"there are: {hint}"
