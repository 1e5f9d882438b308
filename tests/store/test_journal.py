"""Events as JSON lines, and the page that documents them."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from provision import events
from provision.events import Event, Progressed, RunEnded, TaskEnded
from provision.store.journal import as_json, event_name

PAGE = Path(__file__).resolve().parents[2] / "docs" / "events.md"
KINDS = [
    kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
]


def documented() -> dict[str, list[str]]:
    """Fields by event, as the page has them."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            found[line[3:]] = []
        elif found and (match := re.match(r"- `(\w+)`", line)):
            found[list(found)[-1]].append(match.group(1))
    return found


@pytest.mark.parametrize("kind", KINDS, ids=event_name)
def test_every_event_and_field_is_documented(kind: type[Event]) -> None:
    expected = [field.name for field in fields(kind) if field.name != "at"]
    assert documented().get(event_name(kind)) == expected


def test_nothing_else_is_documented() -> None:
    assert set(documented()) == {event_name(kind) for kind in KINDS}


def test_an_event_as_a_line() -> None:
    line = as_json(TaskEnded(node="a", task="t", status="ok", at=1700000000.12345))
    assert "\n" not in line
    found = json.loads(line)
    assert (found["event"], found["at"], found["node"], found["changed"]) == ("task_ended", 1700000000.123, "a", 0)


def test_values_keep_their_kind() -> None:
    assert json.loads(as_json(Progressed(node="", task="", text="é\n")))["fraction"] is None
    ended = json.loads(as_json(RunEnded(exit_code=0, seconds=1.5, counts={"a": {"ok": 1}}, next=("x",))))
    assert (ended["counts"], ended["next"]) == ({"a": {"ok": 1}}, ["x"])
