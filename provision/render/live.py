"""A moving display for a terminal: what is under way at the bottom, what is done scrolls above it.

The display holds to the terminal's size, whatever the number of nodes: nodes with the same state share a line, and what
doesn't fit is counted. Everything above it is the same text that ``plain`` writes, with colour, so a copy of it reads
the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live as RichLive
from rich.text import Text

from provision import clock
from provision.events import Event, PlayEnded, PlayStarted, Progressed, RunEnded, RunStarted, TaskEnded, TaskStarted
from provision.render.fold import fold
from provision.render.lines import Line, duration, grouped, wrapped
from provision.render.story import Story

STYLES = {
    "title": "bold",
    "ok": "green",
    "end": "bold green",
    "changed": "yellow",
    "unknown": "magenta",
    "skipped": "dim",
    "warned": "yellow",
    "warn": "yellow",
    "failed": "bold red",
    "fail": "bold red",
    "unreachable": "bold red",
    "remedy": "cyan",
    "detail": "",
    "note": "dim",
    "info": "dim",
    "off": "dim",
    "waived": "magenta",
    "evidence": "dim",
    "heat0": "black on green3",
    "heat1": "black on dark_olive_green2",
    "heat2": "black on khaki1",
    "heat3": "black on light_goldenrod2",
    "slow": "bold black on orange1",
    "partial": "bold white on dark_orange3",
    "lost": "bold white on red3",
    "untried": "white on grey37",
    "self": "dim",
}
"""By kind of line, and of parts of a line."""
REFRESH = 4
"""Redraws a second."""
_BAR = 10
_LEAST_ROWS = 3


@dataclass(slots=True)
class _Doing:
    """What the run is doing now: for the display."""

    play: str = "connecting"
    task: str = ""
    since: float = 0.0
    states: dict[str, str] = field(default_factory=dict)


class Live:
    """Shows a run on a terminal."""

    def __init__(
        self, stream: TextIO, *, verbose: int = 0, width: int | None = None, height: int | None = None
    ) -> None:
        self._console = Console(file=stream, force_terminal=True, width=width, height=height, highlight=False)
        self._story = Story(verbose=verbose, progress=False, width=self._console.width)
        self._doing = _Doing()
        self._started = clock.monotonic()
        self._live = RichLive(
            _Display(self),
            console=self._console,
            refresh_per_second=REFRESH,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def handle(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._live.start()
        self._note(event)
        lines = self._story.lines(event)
        if isinstance(event, RunEnded):
            self._live.stop()
        for line in lines:
            for piece in wrapped(line, self._console.width):
                self._console.print(styled(piece), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()

    def _note(self, event: Event) -> None:
        doing = self._doing
        match event:
            case PlayStarted():
                self._doing = _Doing(play=event.play, since=clock.monotonic())
            case TaskStarted():
                states = dict.fromkeys(event.nodes, "")
                self._doing = _Doing(doing.play, event.task, clock.monotonic(), states)
            case Progressed():
                doing.states[event.node] = progress_text(event)
            case TaskEnded():
                doing.states.pop(event.node, None)
            case PlayEnded():
                self._doing = _Doing(play=event.play)

    # ---- the display

    def rows(self, width: int, height: int) -> Iterator[Text]:
        """What is under way, in at most ``height`` rows of ``width``."""
        doing, moment = self._doing, clock.monotonic()
        head = doing.play + (f": {doing.task}" if doing.task else "")
        since = f", {duration(moment - doing.since)}" if doing.task else ""
        yield _fitting(f"{_spinner(moment)} {head}{since} (run {duration(moment - self._started)})", width, "bold")
        groups = grouped(list(doing.states.items()))
        room = max(height, _LEAST_ROWS) - 2
        for state, nodes in groups[:room]:
            names = fold(node for node in nodes if node)
            yield _fitting(f"    {_beside(state or 'under way', names, width - 4)}", width)
        if len(groups) > room:
            hidden = sum(len(nodes) for _, nodes in groups[room:])
            yield _fitting(f"    and {hidden} more nodes", width, "dim")


@dataclass(frozen=True, slots=True)
class _Display:
    """Asked by rich at each redraw."""

    live: Live

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.live.rows(options.max_width, min(options.max_height, console.height))


def styled(line: Line) -> Text:
    """A line in its colour; a diff's lines each in its own."""
    if line.kind == "diff":
        mark = line.text.strip()[:1]
        return Text(line.text, style={"+": "green", "-": "red", "@": "cyan"}.get(mark, ""))
    text = Text(line.text, style=STYLES.get(line.kind, ""))
    for first, last, kind in line.spans:
        text.stylize(STYLES.get(kind, ""), first, last)
    return text


def progress_text(event: Progressed) -> str:
    """How far a node is: a bar where that is known."""
    if event.fraction is None:
        return event.text
    fraction = max(0.0, min(event.fraction, 1.0))
    full = round(fraction * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)} {fraction:4.0%} {event.text}"


def _beside(state: str, names: str, width: int) -> str:
    """``state: names``; where that is too long the state is cut, not whose it is."""
    if not names:
        return state
    room = max(width - len(names) - 2, width // 2)
    return f"{state if len(state) <= room else state[: room - 1] + '…'}: {names}"


def _fitting(text: str, width: int, style: str = "") -> Text:
    fitted = Text(text.replace("\n", " "), style=style, no_wrap=True, overflow="ellipsis")
    fitted.truncate(width, overflow="ellipsis")
    return fitted


def _spinner(moment: float) -> str:
    return "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"[int(moment * 8) % 10]
