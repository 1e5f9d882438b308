"""Which sink ``-o`` gives, and where it writes."""

from __future__ import annotations

import io

import pytest

from provision.events import Note
from provision.render.jsonl import JsonLines
from provision.render.live import Live
from provision.render.output import sink
from provision.render.plain import Plain


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "terminal", "term", "expected"),
    [
        ("auto", True, "xterm", Live),
        ("auto", True, "dumb", Plain),
        ("auto", False, "xterm", Plain),
        ("live", False, "xterm", Live),
        ("plain", True, "xterm", Plain),
        ("jsonl", True, "xterm", JsonLines),
    ],
)
def test_kinds(monkeypatch: pytest.MonkeyPatch, kind: str, terminal: bool, term: str, expected: type) -> None:
    monkeypatch.setenv("TERM", term)
    stderr = Terminal() if terminal else io.StringIO()
    assert type(sink(kind, stdout=io.StringIO(), stderr=stderr)) is expected


@pytest.mark.parametrize(("kind", "where"), [("jsonl", "out"), ("plain", "err")])
def test_progress_is_on_stderr_and_data_on_stdout(kind: str, where: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    made = sink(kind, stdout=out, stderr=err)
    made.handle(Note(text="hello"))
    made.close()
    assert ("hello" in out.getvalue(), "hello" in err.getvalue()) == (where == "out", where == "err")
