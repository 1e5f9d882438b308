"""The logs command refuses times and counts that docker would not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.cli import logs
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
