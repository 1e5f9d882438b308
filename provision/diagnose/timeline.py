"""One time line for logs of many clocks.

A time in a log is the node's: docker's stamps are UTC, what a process prints is local, and hardly any bears a year.
Here each becomes seconds since the epoch by the controller's clock. Where nobody measured how far a node's clock is
off, its times are taken as they are, and what must come after something else is told by other means (``follow``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from provision.diagnose.diagnosis import Evidence, ProcessLog
from provision.diagnose.logline import Line, epoch, inner_time

_NO_YEAR = 2024
"""Taken where no year is known, so that times can still be compared; a leap year, which has every date."""

_DAY = 86_400.0
_ASTRAY = 3600.0
"""A time that is further than this from the lines on both sides of it is a quoted one."""

_PRINTED_LATE = 1800.0
"""Seconds for which CANN may keep a message before it is printed."""

_YEAR = re.compile(r"(?<!\d)(20\d\d)[-/]\d\d[-/]\d\d[-T ]\d\d:")
_PEEK = 20_000
_SKEW = 1.0


@dataclass(frozen=True, slots=True)
class Frame:
    """How times of one log become the controller's. ``year`` 0: unknown; ``limit``: nothing is later."""

    offset: float = 0.0
    zone: float = 0.0
    year: int = 0
    limit: float | None = None

    @property
    def dated(self) -> bool:
        return self.year > 0

    def place(self, line: Line) -> float | None:
        """A line's time, seconds since the epoch; without a known year, within a year that stands for it."""
        if line.at is None:
            return None
        return self._placed(line.at, line.year, line.utc)

    def happened(self, line: Line) -> float | None:
        """The same of when it happened: CANN says that in its message, which may be printed long after."""
        at, inner = self.place(line), inner_time(line.raw)
        if at is None or inner is None:
            return at
        before = self._placed(inner, line.year, False)
        return before if 0 <= at - before <= _PRINTED_LATE else at

    def _placed(self, seconds: float, year: int, utc: bool) -> float:
        at = epoch(seconds, year or self.year or _NO_YEAR) - self.offset - (0.0 if utc else self.zone)
        if not year and self.limit is not None and at > self.limit:
            return epoch(seconds, self.year - 1) - self.offset - (0.0 if utc else self.zone)
        return at


def frames(evidence: Evidence) -> list[Frame]:
    """The frames of all logs, in their order."""
    taken = evidence.manifest.taken
    year = datetime.fromtimestamp(taken, UTC).year if taken else _newest_year(evidence.logs)
    return [_frame(evidence, log, year, taken + _DAY if taken else None) for log in evidence.logs]


def skews(evidence: Evidence) -> dict[str, float]:
    """By node, seconds that its clock is ahead, where it differs by more than a second."""
    return {node.name: node.offset for node in evidence.manifest.nodes if node.offset and abs(node.offset) > _SKEW}


def unmeasured(evidence: Evidence) -> tuple[str, ...]:
    """The nodes with logs whose clocks nobody compared, where there are several."""
    named = {log.node for log in evidence.logs}
    unknown = tuple(n.name for n in evidence.manifest.nodes if n.name in named and n.offset is None)
    return unknown if len(named) > 1 else ()


def steadied(lines: Sequence[Line], index: int) -> Line:
    """A line with its own time, or that of the line before it where its own is one that it quotes."""
    line = lines[index]
    if not line.timed or index == 0 or line.at is None:
        return line
    before = lines[index - 1]
    after = next((one for one in lines[index + 1 : index + 50] if one.timed), None)
    if before.at is None or after is None or after.at is None or after.at < before.at:
        return line
    if before.at - _ASTRAY <= line.at <= after.at + _ASTRAY:
        return line
    return line._replace(at=before.at, year=before.year, utc=before.utc)


def shown(at: float | None, zone: float = 0.0) -> str:
    """``11-24 06:03:01`` of seconds since the epoch, in a zone that is so many seconds ahead of UTC."""
    if at is None:
        return ""
    return (datetime(1970, 1, 1) + timedelta(seconds=at + zone)).strftime("%m-%d %H:%M:%S")


def _frame(evidence: Evidence, log: ProcessLog, year: int, limit: float | None) -> Frame:
    node = evidence.manifest.node(log.node)
    offset = log.offset or (node.offset if node and node.offset else 0.0)
    zone = log.zone or (node.zone if node and node.zone and log.source in _NODES_OWN else 0.0)
    return Frame(offset, zone, year, limit)


_NODES_OWN = ("kernel", "journal", "driver")
"""Logs in the node's local time; a container has a zone of its own."""


def _newest_year(logs: Iterable[ProcessLog]) -> int:
    ends = (part for log in logs for part in (log.text[:_PEEK], log.text[-_PEEK:]))
    return max((int(year) for part in ends for year in _YEAR.findall(part)), default=0)
