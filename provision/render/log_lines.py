"""Log lines as a terminal, a file or a program reads them: prefix, colours, repeats folded, one JSON object a line.

Where repeats are folded nothing but times is left out: lines of one process in a row that are the same but for the
times in them, and lines of many processes that come together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from provision.diagnose.filtering import Levels
from provision.diagnose.merge import LogLine, shown
from provision.render.fold import fold

COLOURS = ("36", "35", "32", "33", "34", "91", "96", "95")
LEVEL_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
NARROW = 60
"""Columns below which the prefix is not padded."""

PATIENCE = 5.0
"""Seconds after which a count of repeats is told though they go on."""

_CLOCK = re.compile(r"\d\d:\d\d:\d\d(?:[.,]\d+)?|\d{4}[-/]\d\d[-/]\d\d|\b\d\d-\d\d\b")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]")
"""What moves a terminal's cursor or changes its state; colours may stay."""


def sameness(text: str) -> str:
    """What is equal for lines that differ in their times alone."""
    return _CLOCK.sub("#", text) if ":" in text else text


@dataclass(frozen=True, slots=True)
class Shown:
    """A line, or several that are one: of ``others`` too, or the word that it came ``times`` more."""

    line: LogLine
    others: tuple[LogLine, ...] = ()
    times: int = 0


@dataclass(slots=True)
class _Run:
    """What a process said last, and how often again since that was told."""

    key: str
    last: LogLine
    times: int = 0
    since: float = 0.0


@dataclass(slots=True)
class Folding:
    """Folds batch by batch."""

    _runs: dict[int, _Run] = field(default_factory=dict)

    def fold(self, lines: Sequence[LogLine], now: float) -> Iterator[Shown]:
        """``now``: seconds on any clock that goes on."""
        fresh: list[tuple[LogLine, str]] = []
        for line in lines:
            key = "" if line.note else sameness(line.text)
            run = self._runs.get(line.order)
            if run and key and run.key == key:
                run.since = run.since or now
                run.times, run.last = run.times + 1, line
                continue
            if run and run.times:
                fresh.append((_repeat(run), ""))
            self._runs[line.order] = _Run(key, line)
            fresh.append((line, key))
        yield from _together(fresh)
        for run in self._runs.values():
            if run.times and now - run.since >= PATIENCE:
                yield _told(run)

    def rest(self) -> Iterator[Shown]:
        """The counts that were not told yet."""
        yield from (_told(run) for run in self._runs.values() if run.times)


def _repeat(run: _Run) -> LogLine:
    line = run.last._replace(text=f"… repeated {run.times} time{'s' if run.times > 1 else ''}", note=True)
    run.times, run.since = 0, 0.0
    return line


def _told(run: _Run) -> Shown:
    return Shown(_repeat(run))


def _together(lines: Sequence[tuple[LogLine, str]]) -> Iterator[Shown]:
    """One line for those of several processes that are the same, where no process's own order suffers: only what is
    the next line of each may go with another's."""
    queues: dict[int, list[tuple[LogLine, str]]] = {}
    for line, key in reversed(lines):
        queues.setdefault(line.order, []).append((line, key))
    heads: dict[str, set[int]] = {}
    for order, queue in queues.items():
        heads.setdefault(queue[-1][1], set()).add(order)

    def pop(order: int) -> LogLine:
        line, key = queues[order].pop()
        heads[key].discard(order)
        if queues[order]:
            heads.setdefault(queues[order][-1][1], set()).add(order)
        return line

    gone: set[int] = set()
    for line, key in lines:
        if id(line) in gone:
            continue
        others = sorted(heads.get(key, set()) - {line.order}) if key else []
        own = pop(line.order)
        taken = [pop(order) for order in others]
        gone.update(map(id, taken))
        yield Shown(own, tuple(taken))


@dataclass(slots=True)
class Plain:
    """Lines for eyes. ``width``: columns of the terminal, 0 where it is none; ``stamps``: show times."""

    names: Iterable[tuple[str, str]]
    colour: bool = False
    width: int = 0
    stamps: bool = False
    folding: Folding | None = None
    _labels: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    _column: int = 0
    _levels: Levels = field(default_factory=Levels)

    def __post_init__(self) -> None:
        self._column = 0 if 0 < self.width < NARROW else max((len(_name(*key)) for key in self.names), default=0)

    def text(self, lines: Sequence[LogLine], now: float) -> str:
        """One text for a batch."""
        if self.folding is None:
            return "".join([self._one(line) for line in lines])
        return "".join([self._shown(each) for each in self.folding.fold(lines, now)])

    def rest(self) -> str:
        """What folding still holds."""
        return "".join(map(self._shown, self.folding.rest())) if self.folding else ""

    def _shown(self, each: Shown) -> str:
        if not each.others:
            return self._one(each.line)
        every = sorted((each.line, *each.others), key=lambda line: _natural(_name(line.node, line.process)))
        nodes = fold(line.node for line in every)
        processes = fold(line.process for line in every if line.process)
        return self._one(each.line, f"{nodes}/{processes}")

    def _one(self, line: LogLine, name: str = "") -> str:
        before, after = self._label(line, name)
        text = f"[{line.text}]" if line.note else line.text
        if self.width:
            text = _visible(text)
        level = self._levels.of(line) if self.colour else ""
        if level in LEVEL_COLOURS:
            text = f"\x1b[{LEVEL_COLOURS[level]}m{text}\x1b[0m"
        elif self.colour and "\x1b" in text:
            text += "\x1b[0m"
        time = f"{shown(line.at)} " if self.stamps else ""
        return f"{before}{after} | {time}{text}\n"

    def _label(self, line: LogLine, name: str) -> tuple[str, str]:
        if name:
            return name.ljust(self._column), ""
        key = (line.node, line.process)
        found = self._labels.get(key)
        if found is None:
            padded = _name(*key).ljust(self._column)
            colour = COLOURS[len(self._labels) % len(COLOURS)]
            found = self._labels[key] = (f"\x1b[{colour}m{padded}", "\x1b[0m") if self.colour else (padded, "")
        return found


def _name(node: str, process: str) -> str:
    return f"{node}/{process}" if process else node


def _natural(name: str) -> list[tuple[int, int, str]]:
    """``node10`` after ``node9``."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def _visible(text: str) -> str:
    """What a terminal shows of a line in the end: of a progress bar its last state; nothing that moves the cursor."""
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
    return _CONTROL.sub("", text)


def json_lines() -> Callable[[Sequence[LogLine]], str]:
    """One object a line; ``time`` is corrected (UTC), ``stamp`` docker's own."""
    levels = Levels()

    def text(lines: Sequence[LogLine]) -> str:
        return "".join([json.dumps(_data(line, levels.of(line)), ensure_ascii=False) + "\n" for line in lines])

    return text


def _data(line: LogLine, level: str) -> Mapping[str, object]:
    return {
        "time": shown(line.at),
        "stamp": line.stamp,
        "node": line.node,
        "process": line.process,
        "level": "" if line.note else level,
        "text": line.text,
        "note": line.note,
    }
