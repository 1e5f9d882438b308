"""The processes of a cluster as a diagnosis sees them: what each said in all its logs, how it ended, when it began.

One process has several logs: what it printed, CANN's plogs, Ray's. They complete each other: torch_npu prints that a
call failed with code 7, and the plog of that moment says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from provision.diagnose.catalogue import exit_status
from provision.diagnose.diagnosis import Evidence, ProcessLog
from provision.diagnose.heard import Heard, Kind, Roll, Seen
from provision.diagnose.manifest import ProcessEntry

TOGETHER = 1.0
"""Seconds within which two nodes' times are taken as equal: vLLM prints whole seconds, clocks differ a little."""

_BURST_LINES = 150
_BURST_SECONDS = 3.0
_PLOG_SECONDS = 60.0
"""CANN writes the reason into its plog up to this long before or after torch_npu prints the failure."""

_KILLED_SECONDS = 120.0
"""Between the kernel's line and the last sign of the process that it killed."""

_START_SECONDS = 5.0
_VAGUE = re.compile(r"\bERR\d{5}\b|error code is \d+|HCCL error in: |\bE[A-Z]\d{4}\b")
OOM = re.compile(r"(?:[Oo]ut of memory: |oom-kill:|oom_reaper: reaped|Killed process \d+)")
_NEARLY = {Kind.COMPLAINT: Kind.SYMPTOM, Kind.WARNED: Kind.CONSEQUENCE}
_STRONG = Kind.EXCEPTION


@dataclass(frozen=True, slots=True)
class Party:
    """One process. ``own``: what best tells why it failed, None where it did not; ``support``: what else proves it.
    ``start`` and ``last`` are the first and last times that are known of it (a log that begins with the failure tells
    of no start); ``order`` tells ties apart."""

    node: str
    name: str
    order: int
    heard: tuple[Heard, ...] = ()
    entry: ProcessEntry | None = None
    own: Seen | None = None
    support: tuple[Seen, ...] = ()

    @property
    def rank(self) -> int:
        return self.heard[0].log.rank if self.heard else (self.entry.rank or 0 if self.entry else 0)

    @property
    def exit_code(self) -> int | None:
        told = next((h.log.exit_code for h in self.heard if h.log.exit_code is not None), None)
        return told if told is not None or self.entry is None or self.running else self.entry.exit_code

    @property
    def oom_killed(self) -> bool:
        return any(h.log.oom_killed for h in self.heard) or bool(self.entry and self.entry.oom_killed)

    @property
    def running(self) -> bool:
        """Whether it is known to run."""
        return self.entry is not None and self.entry.state == "running"

    @property
    def absent(self) -> bool:
        """Whether it is known not to be there at all."""
        return self.entry is not None and self.entry.state == "missing"

    @property
    def start(self) -> float | None:
        if self.entry and self.entry.started:
            return self.entry.started
        first = min((h.first for h in self.printed if h.first is not None and not h.log.cut), default=None)
        only_fails = self.own is not None and first is not None and self.own.when <= first
        return None if only_fails else first

    @property
    def last(self) -> float | None:
        return max((h.last for h in self.heard if h.last is not None), default=None)

    @property
    def stopped(self) -> float | None:
        """When it began to shut down because it was told to."""
        return self.stop.at if self.stop else None

    @property
    def stop(self) -> Seen | None:
        """The line that says so."""
        return min((h.stop for h in self.heard if h.stop), key=lambda one: one.when, default=None)

    @property
    def printed(self) -> tuple[Heard, ...]:
        return tuple(h for h in self.heard if h.log.source == "stdout")

    @property
    def seen(self) -> list[Seen]:
        return [one for h in self.heard for one in h.seen]

    @property
    def roll(self) -> Roll:
        roll = Roll()
        for heard in self.heard:
            roll.add(heard.roll)
        return roll

    @property
    def place(self) -> str:
        return " on ".join(filter(None, (self.name, self.node))) or "a log"

    def with_(self, other: Party) -> bool:
        """Whether the two live and die together, as far as anybody knows."""
        unit = self.entry.unit if self.entry else ()
        return not unit or other.name in unit or (other.entry is not None and other.entry.kind != "server")


def parties(evidence: Evidence, heard: Sequence[Heard]) -> list[Party]:
    """The processes that have a log or are known otherwise, each with its own reason to fail."""
    keys = {(h.log.node, h.log.process): None for h in heard if h.log.process or h.log.source == "stdout"}
    keys |= {(entry.node, entry.name): None for entry in evidence.manifest.processes}
    kernel = [h for h in heard if not h.log.process and h.log.source != "stdout"]
    made = []
    for order, (node, name) in enumerate(keys):
        own = tuple(h for h in heard if (h.log.node, h.log.process) == (node, name) and h not in kernel)
        party = Party(node, name, order, own, evidence.manifest.process(name, node))
        made.append(_with_own(party, [h for h in kernel if h.log.node == node], bool(evidence.manifest.error)))
    return made


def strong(one: Seen) -> bool:
    """Whether it may be a first cause by its time: a known error, an exception, or a forced end whose time is known."""
    return one.kind <= _STRONG or (one.kind is Kind.EXIT and one.at is not None)


def _with_own(party: Party, kernel: Sequence[Heard], failed: bool) -> Party:
    killed = _killed(party, kernel)
    seen = _of_this_life(party, sorted(party.seen, key=lambda one: one.when) if len(party.heard) > 1 else party.seen)
    alive = party.running or _went_on(party, seen)
    if alive and not failed and not killed and not any(_fatal(one) for one in seen):
        return party
    ended = _ended(party)
    best = _reduce([*seen, *([ended] if ended else [])])
    if killed and (best is None or not strong(best) or best.kind is Kind.EXIT):
        return replace(party, own=killed, support=tuple(one for one in (ended, best) if one)[:1])
    if best is None:
        return party
    behind = _behind(best, seen)
    return replace(party, own=behind or best, support=(best,) if behind else _also(best, seen, ended))


def _went_on(party: Party, seen: Sequence[Seen]) -> bool:
    """Whether a server of which only its log is known answered questions after all that its log holds of errors."""
    known = party.exit_code is not None or (party.entry is not None and party.entry.state != "unknown")
    last = max((one.line.number for one in seen if one.line), default=-1)
    complains = any(one.kind is Kind.COMPLAINT for one in seen)
    return not known and not complains and len(party.heard) == 1 and party.heard[0].served > last


def _of_this_life(party: Party, seen: list[Seen]) -> list[Seen]:
    """Without what a container said before it was started last; where it says nothing since, but does not run either,
    that stays. Only stamps of docker can be compared with its start."""
    started = party.entry.started if party.entry else None
    if not started:
        return seen
    since = [one for one in seen if not (one.line and one.line.utc and one.when < started - _START_SECONDS)]
    return since if since or party.running else seen


def _fatal(one: Seen) -> bool:
    return one.entry is not None and one.entry.fatal and one.kind not in (Kind.WARNED, Kind.COMPLAINT)


def _reduce(seen: Sequence[Seen]) -> Seen | None:
    """One process's own first cause: its earliest strong error, or the known one in the same burst of lines; else its
    best weak one."""
    firm = [one for one in seen if one.kind <= _STRONG]
    if firm:
        first = firm[0]
        return next((one for one in firm if one.kind is Kind.KNOWN and _same_burst(first, one)), first)
    return min(seen, key=lambda one: _within(one.kind), default=None)


def _within(kind: Kind) -> tuple[Kind, bool]:
    """What tells best of one process: a complaint of another is nearly a symptom, and a warning more than its end."""
    return (_NEARLY[kind], True) if kind in _NEARLY else (kind, False)


def _same_burst(first: Seen, later: Seen) -> bool:
    if first.line is None or later.line is None:
        return False
    near = first.log is not later.log or later.line.number - first.line.number <= _BURST_LINES
    return near and (first.at is None or later.when - first.at <= _BURST_SECONDS)


def _behind(best: Seen, seen: Iterable[Seen]) -> Seen | None:
    """What CANN's own log says of a failure that torch_npu or vLLM only gives a number."""
    if best.log.source in _CANN or best.kind is Kind.KNOWN or best.line is None or not _VAGUE.search(best.line.raw):
        return None
    told = [one for one in seen if one.log.source in _CANN and one.entry and one.kind <= Kind.SYMPTOM]
    near = [one for one in told if one.at is None or best.at is None or abs(one.at - best.at) <= _PLOG_SECONDS]
    return min(near, key=lambda one: (one.kind, one.when), default=None)


_CANN = ("plog", "device")


def _also(best: Seen, seen: Iterable[Seen], ended: Seen | None) -> tuple[Seen, ...]:
    """What a process printed of a failure whose reason stands in CANN's log; how it ended."""
    vague = (one for one in seen if one.line and one.log.source == "stdout" and _VAGUE.search(one.line.raw))
    printed = next(vague, None) if best.log.source in _CANN else None
    by_force = ended if ended and ended.kind is Kind.EXIT else None
    return tuple(one for one in (printed, by_force) if one and one is not best)


def _killed(party: Party, kernel: Iterable[Heard]) -> Seen | None:
    """The kernel's line that says that it killed this process, or one of its, for lack of memory."""
    if not (party.oom_killed or party.exit_code == 137 or _lost_one(party)):
        return None
    end = party.entry.finished if party.entry and party.entry.finished else party.last
    lines = [one for h in kernel for one in h.seen if one.line and OOM.search(one.line.raw)]
    near = [one for one in lines if one.at is None or end is None or abs(one.at - end) <= _KILLED_SECONDS]
    return next((one for one in near if one.line and "Killed process" in one.line.raw), near[0] if near else None)


def _lost_one(party: Party) -> bool:
    """Whether a process in the container died without a word."""
    return any(one.entry and (one.entry.role == "end" or one.entry.id == "process-died") for one in party.seen)


def _ended(party: Party) -> Seen | None:
    log = party.heard[0].log if party.heard else ProcessLog(party.node, party.name, "", party.exit_code)
    kind = _exit_kind(party)
    if kind is None:
        return None
    finished = party.entry.finished if party.entry else None
    return Seen(kind, log, at=finished or (party.last if party.oom_killed else None))


def _exit_kind(party: Party) -> Kind | None:
    if party.oom_killed:
        return Kind.EXIT
    if party.exit_code is None:
        return None
    told = exit_status(party.exit_code)
    if told is None or told.status == 0:  # uvicorn ends with 0 after its engine has died, too
        return Kind.ENDED
    return Kind.STOPPED if told.stopped else Kind.EXIT
