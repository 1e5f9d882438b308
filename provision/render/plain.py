"""Lines without colour or movement: for pipes, CI and files."""

from __future__ import annotations

from typing import TextIO

from provision.events import Event
from provision.render.story import WIDTH, Story


class Plain:
    """Writes the story of a run to a text stream, line by line. What is drawn is at most ``width`` wide."""

    def __init__(self, stream: TextIO, *, verbose: int = 0, width: int = WIDTH) -> None:
        self._stream = stream
        self._story = Story(verbose=verbose, width=width)

    def handle(self, event: Event) -> None:
        for line in self._story.lines(event):
            self._stream.write(line.text.rstrip() + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()
