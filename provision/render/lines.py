"""Lines for people: what the story of a run is made of, and how a line of text fits a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from provision.render.fold import fold

COLUMN = 12
"""Where the text of a line begins, behind its first word."""
INNER = COLUMN + 8
"""Where the text below it begins, behind the name of what it is."""
KEPT = ("evidence", "diff", "table", "command")
"""Kinds of lines that are never wrapped: what is copied as it stands, and what is drawn."""

_LEAD = re.compile(r" *\S+ {2,}")
_LEAST = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and what it is about: a status, a finding's level, or one of title, detail, diff, note, end,
    remedy, evidence, command, table. ``spans`` are parts with a kind of their own: from, to, kind."""

    kind: str
    text: str
    spans: tuple[tuple[int, int, str], ...] = ()


def headline(kind: str, text: str, word: str = "") -> Line:
    """``word``, or else the kind itself, and what there is to say."""
    return Line(kind, f"{word or kind:<{COLUMN}}{text}")


def remedy(text: str) -> Line:
    """What to do."""
    return Line("remedy", f"{'remedy':>{INNER - 2}}  {text}")


def pair(name: str, value: str, kind: str = "detail") -> Line:
    """A named value below a headline."""
    return Line(kind, f"{name:>{INNER - 2}}  {value}")


def quoted(text: str) -> Iterator[Line]:
    """Somebody's own words, line by line."""
    for line in text.splitlines():
        yield Line("evidence", f"{'|':>{INNER - 2}}  {line}")


def wrapped(line: Line, width: int) -> Iterator[Line]:
    """The line in pieces of ``width``, later ones below the first one's text. Words (paths, images) are never cut."""
    if len(line.text) <= width or line.kind in KEPT:
        yield from _beside(line, width) if line.kind == "command" else [line]
        return
    lead = _LEAD.match(line.text)
    hang = " " * (len(lead.group()) if lead else 0)
    if len(hang) > width - max(_LEAST, *(len(word) for word in line.text.split())):
        hang = "  "
    pieces = textwrap.wrap(
        line.text, width, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )
    yield from (replace(line, text=piece, spans=()) for piece in pieces)


def _beside(line: Line, width: int) -> Iterator[Line]:
    """A command, which must be copied whole, on a line of its own where it doesn't fit beside its name."""
    name, gap, command = line.text.strip().partition("  ")
    if len(line.text) <= width or not gap:
        yield line
        return
    yield from (replace(line, text=f"{name:>{INNER - 2}}"), replace(line, text=f"  {command.strip()}"))


def where(nodes: Iterable[str], order: Sequence[str]) -> str:
    """Nodes as ranges, in the order of the inventory."""
    return fold(sorted((node for node in nodes if node), key=place(order)))


def place(order: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    """Sorts names by their place in ``order``, others after them."""
    places = {name: number for number, name in enumerate(order)}
    return lambda name: (places.get(name, len(places)), name)


def one_line(text: str) -> str:
    """A text without its line ends."""
    return " ".join(text.split("\n"))


def grouped(pairs: Iterable[tuple[str, T]]) -> list[tuple[T, list[str]]]:
    """Nodes by what is the same for them, in the order of first sight."""
    groups: dict[T, list[str]] = {}
    for node, key in pairs:
        groups.setdefault(key, []).append(node)
    return list(groups.items())


def count(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """A time for people: ``3.2 s``, ``4 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def figure(value: float) -> str:
    """A number in three digits or so: ``0.12``, ``3.4``, ``1230``."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
