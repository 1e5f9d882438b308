"""Events as lines of JSON: what the run directory keeps and ``-o jsonl`` prints. ``docs/events.md`` names all of them.

Field names are those of ``provision.events``; ``event`` is the type: ``TaskEnded`` is ``task_ended``.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass

from provision.events import Event
from provision.findings import Comparison, Matrix, Measure

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def event_name(kind: type[Event]) -> str:
    """The ``event`` of a type of events."""
    return _HUMP.sub("_", kind.__name__).lower()


def as_json(event: Event) -> str:
    """An event as one line of JSON, without its end."""
    values = {item.name: getattr(event, item.name) for item in fields(event) if item.name != "at"}
    named = {"event": event_name(type(event)), "at": round(event.at, 3), **values}
    return json.dumps(named, ensure_ascii=False, default=as_plain)


def as_plain(value: object) -> dict[str, object]:
    """A value that an event carries, one level of it; exhibits say in ``kind`` which one they are. Raises ``TypeError``
    for anything else."""
    if not is_dataclass(value) or isinstance(value, type):
        raise TypeError(f"events carry no {type(value).__name__}")
    own = {item.name: getattr(value, item.name) for item in fields(value)}
    return {"kind": type(value).__name__.lower(), **own} if isinstance(value, Comparison | Matrix | Measure) else own
