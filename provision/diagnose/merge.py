"""Log lines of many sources on one time line: what docker's stamps mean, which lines may go out, where a log was left.

Every stamp is by the clock of its node; less that clock's offset they all are by ours. A line goes out when no source
that still talks can have an earlier one. One that is silent holds nobody up, so that what comes from it later may be
out of order; it is never dropped.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from provision.facts.system import ClockValue

HOLD = 0.3
"""Seconds of silence after which a source holds the others up no longer."""

GRACE = 1.5
"""Seconds that a source may take for its first line."""

LAG = 3.0
"""Seconds by which a source that has caught up may hold the others up, whatever its stamps say."""

CROWD = 1000
"""Lines waiting of one source from which on it counts as talking: it may be waiting for us."""

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")

Instant = tuple[int, int]
"""Seconds since the epoch, and nanoseconds."""


class LogLine(NamedTuple):
    """A line of a process. ``at``: seconds since the epoch by our clock; ``order``: the number of its source.

    ``stamp`` is docker's own, by the node's clock. A ``note`` is ours: how a process or its connection ended.
    """

    at: float
    order: int
    stamp: str
    node: str
    process: str
    text: str
    note: bool = False


class Stamped(NamedTuple):
    """A line as docker gave it; ``stamp`` is empty, and ``when`` None, where it has none."""

    when: Instant | None
    stamp: str
    text: str


def stamped(line: str) -> Stamped:
    """A line of ``docker logs --timestamps``."""
    stamp, _, text = line.partition(" ")
    when = instant(stamp)
    return Stamped(None, "", line) if when is None else Stamped(when, stamp, text)


def instant(stamp: str) -> Instant | None:
    """What a stamp (RFC 3339) says; None where it is none."""
    if len(stamp) == 30 and stamp[29] == "Z" and (part := stamp[20:29]).isdigit():  # docker's own form
        second = _second(stamp[:19], "Z")
        return None if second is None else (second, int(part))
    found = _STAMP.fullmatch(stamp)
    second = _second(found[1], found[3]) if found else None
    return None if found is None or second is None else (second, int((found[2] or "").ljust(9, "0")))


@lru_cache(maxsize=4096)
def _second(text: str, zone: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text + ("+00:00" if zone == "Z" else zone)).timestamp())
    except ValueError:
        return None


def shown(at: float) -> str:
    """``2026-01-31T08:00:00.123456Z``: RFC 3339, UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Clocks:
    """By how many seconds the nodes' clocks are ahead of ours.

    A look tells between which bounds that is. Nodes whose bounds allow the same offset get the same, ours (0) first:
    clocks that are kept in step must not be torn apart by what the looks took.
    """

    def __init__(self) -> None:
        self._known = [0.0]

    def offset(self, value: ClockValue) -> float:
        """Of the clock that told this; 0 where nothing is known."""
        if value.epoch is None or value.when is None:
            return 0.0
        low, high = value.epoch - value.when[1], value.epoch - value.when[0]
        for known in self._known:
            if low <= known <= high:
                return known
        self._known.append((low + high) / 2)
        return self._known[-1]


class Cursor:
    """Where a log was left: it can be opened again from there, with no line twice and none lost."""

    __slots__ = ("_at_last", "_skip", "last")

    def __init__(self) -> None:
        self.last: Stamped | None = None
        """The last line with a stamp that was taken."""
        self._at_last: list[str] = []
        self._skip: Counter[str] | None = None

    def reopen(self) -> str:
        """The stamp to read from; empty where nothing was read yet. What comes next is read from there."""
        if self.last is None:
            return ""
        self._skip = Counter(self._at_last)
        return self.last.stamp

    def take(self, lines: Sequence[Stamped]) -> Sequence[Stamped]:
        """Those of the lines, in the order of the log, that were not taken before."""
        if self._skip is not None:
            lines = self._new(lines, self._skip)
        self._remember(lines)
        return lines

    def _new(self, lines: Sequence[Stamped], skip: Counter[str]) -> Sequence[Stamped]:
        assert self.last is not None
        last = self.last.when or (0, 0)
        fresh: list[Stamped] = []
        for place, line in enumerate(lines):
            when = line.when
            if when is not None and when > last:
                self._skip = None
                return [*fresh, *lines[place:]]
            if when == last and skip[line.text] > 0:
                skip[line.text] -= 1
            elif when is None or when == last:
                fresh.append(line)
        return fresh

    def _remember(self, lines: Sequence[Stamped]) -> None:
        last = next((line for line in reversed(lines) if line.when is not None), None)
        if last is None:
            return
        newest = []
        for line in reversed(lines):
            if line.when is not None and line.when != last.when:
                break
            newest.append(line.text)
        same = self.last is not None and self.last.when == last.when and len(newest) == len(lines)
        self._at_last = [*self._at_last, *newest] if same else newest
        self.last = last


class Merger:
    """Holds lines back until their turn. All times are seconds since the epoch by our clock."""

    def __init__(self, *, hold: float = HOLD, grace: float = GRACE) -> None:
        self._hold = hold
        self._grace = grace
        self._waiting: dict[int, list[LogLine]] = {}
        self._last: dict[int, float] = {}
        self._until: dict[int, float] = {}
        """Until when a source holds the others up."""
        self._caught_up: set[int] = set()

    def expect(self, order: int, now: float) -> None:
        """A source begins, or begins again."""
        self._until[order] = now + self._grace
        self._last.setdefault(order, float("-inf"))

    def add(self, order: int, lines: Sequence[LogLine], now: float) -> None:
        """Lines of one source, in its order and with times that never go back."""
        if lines:
            self._waiting.setdefault(order, []).extend(lines)
            self._last[order] = lines[-1].at
            self._until[order] = now + self._hold
            if lines[-1].at > now - LAG:
                self._caught_up.add(order)

    def ready(self, now: float, told: Callable[[int, int], None] = lambda order, count: None) -> list[LogLine]:
        """The lines whose turn it is, in order of time. ``told`` hears how many of which source they are."""
        mark = self._mark(now)
        out: list[LogLine] = []
        for order in [order for order, lines in self._waiting.items() if lines]:
            lines = self._waiting[order]
            count = bisect_right(lines, mark, key=itemgetter(0))
            if count:
                out += lines[:count]
                self._waiting[order] = lines[count:]
                told(order, count)
                if len(lines) >= CROWD:
                    self._until[order] = now + self._hold
        return sorted(out, key=itemgetter(0, 1))

    def rest(self, told: Callable[[int, int], None] = lambda order, count: None) -> list[LogLine]:
        """All that still waits."""
        self._until.clear()
        return self.ready(0.0, told)

    def _mark(self, now: float) -> float:
        """Up to when nobody who talks can have an earlier line."""
        for order in [order for order, until in self._until.items() if until <= now]:
            del self._until[order]
            self._caught_up.add(order)
        return min(map(self._low(now), self._until), default=float("inf"))

    def _low(self, now: float) -> Callable[[int], float]:
        return lambda order: max(self._last[order], now - LAG) if order in self._caught_up else self._last[order]
