"""One JSON object a line for every event: for programs. ``docs/events.md`` names every event and field.

Field names are those of ``provision.events``; ``event`` is the type: ``TaskEnded`` is ``task_ended``.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import TextIO

from provision.events import Event

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def event_name(kind: type[Event]) -> str:
    """The ``event`` of a type of events."""
    return _HUMP.sub("_", kind.__name__).lower()


def as_json(event: Event) -> str:
    """An event as one line of JSON, without its end."""
    values = {item.name: getattr(event, item.name) for item in fields(event) if item.name != "at"}
    return json.dumps({"event": event_name(type(event)), "at": round(event.at, 3), **values}, ensure_ascii=False)


class JsonLines:
    """Writes events to a text stream, flushing each line: a reader sees what happens when it happens."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def handle(self, event: Event) -> None:
        self._stream.write(as_json(event) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()
