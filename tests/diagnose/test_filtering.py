"""Which lines --level and --grep leave."""

from __future__ import annotations

import re

import pytest

from provision.diagnose.filtering import sieve
from provision.diagnose.merge import LogLine

SAID = [
    "INFO 11-24 06:03:01 [a.py:1] calm",
    "  of the calm",
    "(Worker_TP1 pid=7) ERROR 11-24 06:03:01 [a.py:1] broken",
    "(Worker_TP1 pid=7) Traceback (most recent call last):",
    "  still calm",
    "(Worker_TP1 pid=7)   File x.py",
    "(Worker_TP1 pid=7) INFO 11-24 06:03:02 [a.py:1] fine",
    "Traceback (most recent call last):",
    "ValueError: bad",
    "[WARNING] 2026-11-24 loud",
]


@pytest.mark.parametrize(
    ("level", "places"), [("", range(10)), ("INFO", range(10)), ("ERROR", (2, 3, 5, 7, 8)), ("CRITICAL", ())]
)
def test_levels(level: str, places: object) -> None:
    lines = [LogLine(float(n), 0, "", "n1", "head", text) for n, text in enumerate(SAID)]
    note = LogLine(99.0, 0, "", "n1", "head", "exited", note=True)
    kept = sieve(level=level)([*lines, note])
    assert [SAID.index(line.text) for line in kept if not line.note] == list(places)
    assert note in kept, "how a process ended is always told"


@pytest.mark.parametrize(("invert", "places"), [(False, [2]), (True, [0, 1, 3, 4, 5, 6, 7, 8, 9])])
def test_grep(invert: bool, places: list[int]) -> None:
    lines = [LogLine(float(n), 0, "", "n1", "head", text) for n, text in enumerate(SAID)]
    kept = sieve(grep=re.compile("brok.n"), invert=invert)(lines)
    assert [SAID.index(line.text) for line in kept] == places
