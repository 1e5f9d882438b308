"""One JSON object a line for every event: for programs."""

from __future__ import annotations

from typing import TextIO

from provision.events import Event
from provision.store.journal import as_json


class JsonLines:
    """Writes events to a text stream, flushing each line: a reader sees what happens when it happens."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def handle(self, event: Event) -> None:
        self._stream.write(as_json(event) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()
