"""The one way from logic to sinks: an event is stamped, its texts redacted, and every sink sees it in the same order.

A sink that fails (a full disk under the run directory, a closed pipe) is let go with a note to the others: what happens
on the nodes matters more than the account of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from threading import RLock
from typing import Any, Self

from provision import clock
from provision.events import Event, Note, Sink
from provision.secrets import redact_data


class Emitter:
    """Hands events to sinks, one at a time, from any thread."""

    def __init__(self, sinks: Iterable[Sink] = ()) -> None:
        self._sinks = list(sinks)
        self._lock = RLock()
        self._closed = False

    def emit(self, event: Event) -> None:
        """Show ``event`` to all sinks. Never raises for a sink's failure. After ``close`` events go nowhere."""
        stamped = _prepared(event)
        with self._lock:
            if not self._closed:
                self._deliver(stamped)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all sinks; a second time does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for sink in self._sinks:
                try:
                    sink.close()
                except (OSError, ValueError):
                    continue

    def _deliver(self, event: Event) -> None:
        for sink in list(self._sinks):
            try:
                sink.handle(event)
            except (OSError, ValueError) as error:
                self._sinks.remove(sink)
                self._deliver(_prepared(Note(text=f"{type(sink).__name__} stopped recording: {error}", level="warn")))


def _prepared(event: Event) -> Event:
    changes: dict[str, Any] = {
        item.name: redact_data(getattr(event, item.name)) for item in fields(event) if item.name != "at"
    }
    return replace(event, at=event.at or clock.now(), **changes)
