"""Events as lines of JSON: what the run directory keeps and ``-o jsonl`` prints. ``docs/events.md`` names all of them.

Field names are those of ``provision.events``; ``event`` is the type: ``TaskEnded`` is ``task_ended``.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields

from provision.events import Event

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def event_name(kind: type[Event]) -> str:
    """The ``event`` of a type of events."""
    return _HUMP.sub("_", kind.__name__).lower()


def as_json(event: Event) -> str:
    """An event as one line of JSON, without its end."""
    values = {item.name: getattr(event, item.name) for item in fields(event) if item.name != "at"}
    return json.dumps({"event": event_name(type(event)), "at": round(event.at, 3), **values}, ensure_ascii=False)
