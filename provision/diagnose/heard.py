"""What one log says of a failure: every line judged by the catalogue, and who was called up and came.

Wrappers and consequences never count as a cause; symptoms count only where there is no better; complaints are about
another process. Of a node's own logs (kernel, journal, driver) only what the catalogue knows counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cache, partial
from itertools import pairwise

from provision.diagnose.catalogue import Entry, entries, match
from provision.diagnose.diagnosis import ProcessLog
from provision.diagnose.logline import CALM, Line, parse
from provision.diagnose.timeline import Frame, steadied
from provision.diagnose.triggers import triggers

LAST_LINES = 20_000
"""Lines at the end of each log that are read."""

OF_NODES = ("kernel", "journal", "driver")

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Timeout|Expired|Refused)(?:: |:?$)")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?$")
_LOUD = re.compile(r"(?:error|fatal|panic|abort(?:ed)?)\b\s*:|(?:错误|失败|异常)\s*[:：]", re.IGNORECASE)
_BANNER = "vLLM API server version"
"""What a server says first; a log may hold several starts one after the other."""
_BANNERS_APART = 10.0
"""Seconds; API servers of one start say it together."""

_SOON = 20
"""Lines after "Shutdown complete" in which an engine's end is no failure: its client finds it gone [domain 8.4]."""

_OF_ANOTHER = re.compile(
    r"(?i)connection (?:was )?(?:reset|refused|closed|lost|aborted)|\bpeer\b|unreachable|disconnected"
    r"|timed? ?out .*\brank|\brank .*timed? ?out|heartbeat"
)
"""An exception that speaks of the other end."""


class Kind(IntEnum):
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


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that speaks of failure. ``at``: seconds since the epoch, None where no time is known. ``line`` is None
    where only how the process ended tells."""

    kind: Kind
    log: ProcessLog
    line: Line | None = None
    entry: Entry | None = None
    at: float | None = None

    @property
    def when(self) -> float:
        """To sort by: what has no time comes first."""
        return float("-inf") if self.at is None else self.at


@dataclass(slots=True)
class Roll:
    """The ranks of HCCL: which this process has, how many there are, which came and which did not. ``far`` and ``near``
    are those at the two ends of links that did not come up, as their communicator counts them."""

    own: set[int] = field(default_factory=set)
    world: int = 0
    came: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)
    far: set[int] = field(default_factory=set)
    near: set[int] = field(default_factory=set)

    def add(self, other: Roll) -> None:
        self.own |= other.own
        self.world = max(self.world, other.world)
        self.came |= other.came
        self.absent |= other.absent
        self.far |= other.far
        self.near |= other.near


@dataclass(frozen=True, slots=True)
class Heard:
    """All of one log. ``first`` and ``last``: its times; ``lines``: how many were read; ``skipped``: those before."""

    log: ProcessLog
    frame: Frame
    seen: tuple[Seen, ...]
    roll: Roll
    first: float | None = None
    last: float | None = None
    lines: int = 0
    skipped: int = 0
    stop: Seen | None = None
    """With what it began to shut down in good order, without any error before; None where it did not."""
    served: int = -1
    """The last line that shows that it serves; -1 where none does."""


def listen(log: ProcessLog, frame: Frame, served: str = "") -> Heard:
    """Everything in a log that speaks of failure, in order. ``served``: the name that its server is to serve."""
    all_lines = log.text.splitlines()
    lines = list(parse(log.text if len(all_lines) <= LAST_LINES else "\n".join(all_lines[-LAST_LINES:])))
    roll = Roll()
    refused = f"The model `{served}` does not exist" if served else ""
    judge = _of_node if log.source in OF_NODES else partial(_of_process, refused=refused)
    seen = tuple(
        Seen(kind, log, line, entry, frame.happened(line))
        for index, kind, entry in judge(lines, roll)
        for line in (steadied(lines, index),)
    )
    life = _last_life(log, lines, seen)
    seen = tuple(one for one in seen if one.line is None or one.line.number >= life)
    first = frame.place(lines[life]) if lines else None
    last = frame.place(lines[-1]) if lines else None
    stop = _orderly(lines[life:], seen)
    stopped = Seen(Kind.STOPPED, log, stop, None, frame.place(stop)) if stop else None
    answered = next((line.number for line in reversed(lines) if _serves(line.text)), -1)
    return Heard(log, frame, seen, roll, first, last, len(lines), len(all_lines) - len(lines), stopped, answered)


def _serves(text: str) -> bool:
    """Whether a server answers a question in this line; its health says little."""
    return text.endswith('" 200 OK') and '"POST ' in text


def _last_life(log: ProcessLog, lines: Sequence[Line], seen: Sequence[Seen]) -> int:
    """Where the last start begins that says how it went: it came up, or failed. What came before is over."""
    if log.source != "stdout" or log.text.count(_BANNER) < 2:
        return 0
    begins = [line for line in lines if _BANNER in line.raw]
    for line in reversed([line for before, line in pairwise(begins) if _apart(before, line)]):
        failed = any(one.line and one.line.number >= line.number and one.kind <= Kind.SYMPTOM for one in seen)
        if failed or any("startup complete" in later.text for later in lines[line.number :]):
            return line.number
    return 0


def _apart(before: Line, line: Line) -> bool:
    return before.at is None or line.at is None or abs(line.at - before.at) >= _BANNERS_APART


def _orderly(lines: Sequence[Line], seen: Sequence[Seen]) -> Line | None:
    """The line with which a server begins to end because it was told to; one whose engine died ends in order, too."""
    if not any("hutdown complete" in line.text for line in lines[-_SOON * 5 :]):
        return None
    begins = next((line for line in lines if _STOPS.search(line.text)), None)
    if begins is None or any(
        one.line and one.line.number <= begins.number and one.kind <= Kind.CONSEQUENCE for one in seen
    ):
        return None
    return begins


_STOPS = re.compile(r"[Ss]hutdown (?:initiated|complete)|[Ss]hutting down|Received SIG(?:TERM|INT)")


def _of_node(lines: Sequence[Line], roll: Roll) -> Iterator[tuple[int, Kind, Entry | None]]:
    for index, line in enumerate(lines):
        entry = match(line.raw, calm=line.level in CALM)
        if entry and entry.role == "cause" and entry.scope != "client":
            yield index, Kind.KNOWN, entry


def _of_process(lines: Sequence[Line], roll: Roll, refused: str) -> Iterator[tuple[int, Kind, Entry | None]]:
    """``refused``: what a server says that does not serve what it was started for; else such a line is a client's
    mistake."""
    raised: set[str] = set()
    orderly = -_SOON
    for index, line in enumerate(lines):
        if "rank" in line.raw or "agent[" in line.raw or "LinkInfo" in line.raw:
            _call(line.raw, roll)
        if line.level in CALM:
            raised.discard(line.who)
            judged = _judge_calm(line)
            orderly = index if "hutdown complete" in line.text else orderly
        else:
            mine = refused and refused in line.raw
            judged = (Kind.KNOWN, _misnamed(line)) if mine else _judge(line, _ends_traceback(line, raised))
        if judged and not (judged[0] is Kind.CONSEQUENCE and index - orderly < _SOON):
            yield index, *judged


def _misnamed(line: Line) -> Entry | None:
    """What a client's mistake is where it is none: the server runs, and serves nobody who asks as was declared."""
    entry = match(line.raw)
    return entry and replace(
        entry,
        role="cause",
        fatal=True,
        scope="config",
        title="the server does not serve the model by the name that is declared",
        cause="It was started with another name: by hand, or from another inventory. The line tells both.",
        remedy="`restart` starts it as declared; or set model.served_name to the name that it serves",
    )


def _ends_traceback(line: Line, raised: set[str]) -> bool:
    """Whether a line is the last one of a traceback, so that it names the exception."""
    if _TRACEBACK in line.text:
        raised.add(line.who)
        return False
    ends = bool(raised) and line.who in raised and bool(line.text) and not line.text[0].isspace()
    if ends:
        raised.discard(line.who)
    return ends


def _judge_calm(line: Line) -> tuple[Kind, Entry | None] | None:
    """Most lines are calm, and hardly any entry counts in them: a look for its text is cheaper than asking."""
    marks = _calm_marks()
    if marks is not None and not any(mark in line.raw for mark in marks):
        return None
    entry = match(line.raw, calm=True)
    return _judge_known(line, entry) if entry else None


@cache
def _calm_marks() -> tuple[str, ...] | None:
    """Pieces of text of which one is in every calm line that an entry matches; None where that cannot be said."""
    found = [triggers(entry.signature.pattern) for entry in entries() if entry.quiet]
    return None if None in found else tuple(mark for marks in found for mark in marks or ())


def _judge(line: Line, raised: bool) -> tuple[Kind, Entry | None] | None:
    """What a line is; ``raised``: it names the exception of a traceback."""
    entry = match(line.raw)
    if entry:
        return _judge_known(line, entry)
    if line.level == "WARNING" or not line.text.strip():
        return None
    if _EXCEPTION.match(line.text) or (raised and _RAISED.match(line.text)):
        return Kind.SYMPTOM if _OF_ANOTHER.search(line.text) else Kind.EXCEPTION, None
    if line.level or _LOUD.search(line.text):
        return None if line.text[:1].isspace() or _TRACEBACK in line.text else (Kind.ERROR, None)
    return None


def _judge_known(line: Line, entry: Entry) -> tuple[Kind, Entry | None] | None:
    if entry.role == "noise" or entry.scope == "client":  # what clients do wrong ends no server
        return None
    if entry.role != "cause":
        return _BY_ROLE[entry.role], entry
    return Kind.WARNED if line.level == "WARNING" else Kind.KNOWN, entry


_BY_ROLE = {"end": Kind.EXIT, "consequence": Kind.CONSEQUENCE, "complaint": Kind.COMPLAINT, "symptom": Kind.SYMPTOM}


# ---- who came

_ENTRY = re.compile(r"Entry-Hccl\w*:.*?\branks\[(\d+)\].*?\brank\[(\d+)\]")
_ABSENT = re.compile(
    r"(?:[Ff]ailed to connect agent|[Uu]nconnected ranks: \"?|not connected\b[^\[]*?rank_?[Ii]d)\s*\[([\d,\- ]+)\]"
)
_CAME = re.compile(r"connected rankinfo\[LINE \d+\]:\s*(.*)")
_LINK = re.compile(r"\|\s*[\d.:a-fA-F]+\((\d+)\)\s*\|(?:[^|(]*\|\s*[\d.:a-fA-F]+\((\d+)\)\s*\|)?.*\btime ?out\b")
"""A row of LINK_ERROR_INFO: first the far end, then the near one."""

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")


def _call(text: str, roll: Roll) -> None:
    """What a line tells of ranks: `Entry-` of one that joined, and HCCL's tables of those that did not."""
    entry = _ENTRY.search(text) if "Entry-" in text else None
    if entry:
        roll.world = max(roll.world, int(entry[1]))
        roll.own.add(int(entry[2]))
    for expression, ranks in ((_ABSENT, roll.absent), (_CAME, roll.came)):
        if found := expression.search(text):
            ranks |= _ranks(found[1])
    if link := _LINK.search(text):
        roll.far.add(int(link[1]))
        roll.near |= {int(link[2])} if link[2] else set()


def _ranks(text: str) -> set[int]:
    """``1,3,`` or ``16-23`` or ``[0000000000000000],[0000000000000002]``."""
    found: set[int] = set()
    for first, last in _NUMBERS.findall(text):
        found |= set(range(int(first), min(int(last or first), int(first) + 65_536) + 1))
    return found
