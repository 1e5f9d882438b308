"""From the logs of all processes of a cluster to the one error that started it.

When one rank fails, every other rank fails a moment later, and vLLM wraps each failure several times; a router before
several servers, and a rank that lost its head, tell of the dead one too. So: every line is judged by the catalogue;
wrappers and consequences never count as a cause; symptoms count only where no process has a better error; who complains
of another process comes after one that ended without a word; of what remains the earliest wins, and within a second a
known error before an unknown one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from provision.diagnose.catalogue import Entry, exit_status, match
from provision.diagnose.diagnosis import Confidence, ProcessLog
from provision.diagnose.logline import CALM, Line, parse, shown_time

TOGETHER = 1.0
"""Seconds within which two nodes' times are taken as equal: vLLM prints whole seconds, clocks differ a little."""

_BURST_LINES = 150
_BURST_SECONDS = 3.0
_CUT = 500
_LAST_LINES = 20_000

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Timeout|Expired|Refused)(?:: |:?$)")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?$")
_LOUD = re.compile(r"(?:error|fatal|panic|abort(?:ed)?)\b\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cause:
    """The first cause. ``line`` is "" where no line tells; ``id`` is "" where the catalogue doesn't know it.

    ``worker`` is the process inside the container. ``followers``: what the other processes said because of it.
    """

    node: str
    process: str
    line: str
    time: str
    title: str
    explanation: str
    remedy: str
    confidence: Confidence
    followers: tuple[str, ...] = ()
    id: str = ""
    worker: str = ""
    excerpt: str = ""
    source: str = ""

    def summary(self) -> str:
        """One line: who, what."""
        return f"{self.process} on {self.node}: {self.title}"


class _Kind(IntEnum):
    """How much an observation says; the smaller, the better a first cause of all processes it makes."""

    KNOWN = 0
    EXCEPTION = 1
    EXIT = 2
    SYMPTOM = 3
    ERROR = 4
    STOPPED = 5
    CONSEQUENCE = 6
    ENDED = 7
    COMPLAINT = 8
    WARNED = 9


_NEARLY = {_Kind.COMPLAINT: _Kind.SYMPTOM, _Kind.WARNED: _Kind.CONSEQUENCE}


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: _Kind
    log: ProcessLog
    order: int
    line: Line | None = None
    entry: Entry | None = None

    @property
    def at(self) -> float:
        return self.line.at if self.line and self.line.at is not None else float("-inf")


def first_cause(logs: Sequence[ProcessLog]) -> Cause | None:
    """The first cause of a failure. An error that the catalogue doesn't know is answered with its earliest line, and
    says so; None where no process shows any failure.

    ``logs`` in order of rank: where nothing else tells two errors apart, the first in the sequence wins.
    """
    judged = [_reduce(list(_observe(order, log))) for order, log in enumerate(logs)]
    seen = [best for best in judged if best]
    if not seen:
        return None
    first = _earliest(seen)
    followers = tuple(_told(other) for other in sorted(seen, key=lambda o: o.at) if other is not first)
    return _cause(first, followers)


def _earliest(seen: Sequence[_Seen]) -> _Seen:
    """Known errors and exceptions compete by time; the weaker kinds only among themselves."""
    strong = [one for one in seen if one.kind <= _Kind.EXCEPTION]
    weakest = min(one.kind for one in seen)
    pool = strong or [one for one in seen if one.kind == weakest]
    start = min(one.at for one in pool)
    together = [one for one in pool if one.at == start or one.at - start <= TOGETHER]
    return min(together, key=lambda one: (one.kind, one.at, one.log.exit_code is None, one.order))


def _reduce(seen: Sequence[_Seen]) -> _Seen | None:
    """One process's own first cause: its earliest strong error, or the known one in the same burst of lines; else its
    best weak one."""
    strong = [one for one in seen if one.kind <= _Kind.EXCEPTION]
    if strong:
        first = strong[0]
        return next((one for one in strong if one.kind is _Kind.KNOWN and _same_burst(first, one)), first)
    return min(seen, key=lambda one: _within(one.kind), default=None)


def _within(kind: _Kind) -> tuple[_Kind, bool]:
    """What tells best of one process: a complaint of another is nearly a symptom, and a warning more than its end."""
    return (_NEARLY[kind], True) if kind in _NEARLY else (kind, False)


def _same_burst(first: _Seen, later: _Seen) -> bool:
    if first.line is None or later.line is None:
        return False
    near = later.line.number - first.line.number <= _BURST_LINES
    return near and (first.line.at is None or later.at - first.at <= _BURST_SECONDS)


def _observe(order: int, log: ProcessLog) -> Iterator[_Seen]:
    """Everything in one process's log that speaks of failure, in order; at last its exit status."""
    raised: dict[str, bool] = {}
    for line in parse("\n".join(log.text.splitlines()[-_LAST_LINES:])):
        in_traceback = raised.get(line.who, False)
        ends = in_traceback and bool(line.text) and not line.text[0].isspace()
        if _TRACEBACK in line.text:
            raised[line.who] = True
        elif ends:
            raised[line.who] = False
        judged = _judge(line, ends and _TRACEBACK not in line.text)
        if judged:
            yield _Seen(judged[0], log, order, line, judged[1])
    if (kind := _exit_kind(log)) is not None:
        yield _Seen(kind, log, order)


def _judge(line: Line, raised: bool) -> tuple[_Kind, Entry | None] | None:
    """What a line is; ``raised``: it is the last line of a traceback, so it names the exception."""
    entry = match(line.raw, calm=line.level in CALM)
    if entry:
        return _judge_known(line, entry)
    if line.level in (*CALM, "WARNING") or not line.text.strip():
        return None
    if _EXCEPTION.match(line.text) or (raised and _RAISED.match(line.text)):
        return _Kind.EXCEPTION, None
    if line.level or _LOUD.search(line.text):
        return None if line.text[:1].isspace() or _TRACEBACK in line.text else (_Kind.ERROR, None)
    return None


def _judge_known(line: Line, entry: Entry) -> tuple[_Kind, Entry | None] | None:
    if entry.role == "noise" or entry.scope == "client":  # what clients do wrong ends no server
        return None
    if entry.role == "consequence":
        return _Kind.CONSEQUENCE, entry
    if entry.role == "complaint":
        return _Kind.COMPLAINT, entry
    if entry.role == "symptom":
        return _Kind.SYMPTOM, entry
    return _Kind.WARNED if line.level == "WARNING" else _Kind.KNOWN, entry


def _exit_kind(log: ProcessLog) -> _Kind | None:
    if log.oom_killed:
        return _Kind.EXIT
    if log.exit_code is None:
        return None
    told = exit_status(log.exit_code)
    if told is None or told.status == 0:  # uvicorn ends with 0 after its engine has died, too
        return _Kind.ENDED
    return _Kind.STOPPED if told.stopped else _Kind.EXIT


def _cause(seen: _Seen, followers: tuple[str, ...]) -> Cause:
    title, explanation, remedy, confidence = _explained(seen)
    line, entry = seen.line, seen.entry
    return Cause(
        node=seen.log.node,
        process=seen.log.process,
        line=line.raw.strip()[:_CUT] if line else "",
        time=shown_time(line.at) if line else "",
        title=title,
        explanation=explanation,
        remedy=remedy,
        confidence=confidence,
        followers=followers,
        id=entry.id if entry else "",
        worker=line.who if line else "",
        excerpt=_excerpt(seen.log, line),
        source=entry.source if entry else "",
    )


def _explained(seen: _Seen) -> tuple[str, str, str, Confidence]:
    """Title, explanation, remedy, confidence."""
    entry, status = seen.entry, seen.log.exit_code
    if entry:
        return entry.title, entry.cause, entry.remedy, _confidence(seen.kind)
    if seen.line:
        title = " ".join(seen.line.text.split())[:160]
        return title, _UNKNOWN, _READ_LOG, "medium" if seen.kind is _Kind.EXCEPTION else "low"
    if seen.log.oom_killed:
        return _OOM_TITLE, _OOM_CAUSE, _OOM_REMEDY, "high"
    told = exit_status(status) if status is not None else None
    if told:
        remedy = told.remedy.replace("NAME", seen.log.container or "NAME")
        return told.title, told.cause, remedy, "low" if told.stopped else "medium"
    return f"it ended with exit status {status}", "Its log holds no error.", _READ_LOG, "low"


def _confidence(kind: _Kind) -> Confidence:
    if kind is _Kind.KNOWN:
        return "high"
    return "medium" if kind is _Kind.SYMPTOM else "low"


def _told(seen: _Seen) -> str:
    """A follower in one line."""
    when = f" ({shown_time(seen.line.at)})" if seen.line and seen.line.at is not None else ""
    return f"{seen.log.process} on {seen.log.node}{when}: {_explained(seen)[0]}"


def _excerpt(log: ProcessLog, line: Line | None) -> str:
    """The lines around the cause: what a human reads to judge it; the log's end where no line tells."""
    lines = log.text.splitlines()[-_LAST_LINES:]
    if line is None:
        return "\n".join(lines[-8:])
    return "\n".join(lines[max(line.number - 6, 0) : line.number + 6])


_UNKNOWN = "An error that the catalogue does not know; it is the earliest that any process shows."
_READ_LOG = "read the log: `qnext-provision logs`; the run directory keeps it"
_OOM_TITLE = "the kernel ended the process: the node has no memory left"
_OOM_CAUSE = "The container was ended by the OOM killer; the weights' page cache and pinned buffers count too."
_OOM_REMEDY = 'free memory or run fewer servers on the node; `dmesg -T | grep -i "killed process"` shows the amounts'
