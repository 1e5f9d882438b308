"""A run in lines, for people: what ``plain`` writes and ``live`` scrolls above its display.

Rules that hold at 3 a.m.: nodes that fail come first; nodes with the same result share a line; what to do stands right
below what is wrong; the last lines say how it ended, what to type next and where everything is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import singledispatchmethod

from provision.events import (
    ActionDone,
    ActionPlanned,
    Checked,
    CommandRan,
    Event,
    Found,
    GroupRestarted,
    NodeConnected,
    NodeUnreachable,
    Note,
    PhaseReached,
    PlayEnded,
    PlayStarted,
    ProcessChanged,
    Progressed,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskStarted,
)
from provision.findings import CheckOutcome
from provision.render import checked
from provision.render.account import repeats
from provision.render.fold import fold
from provision.render.lines import (
    COLUMN,
    Line,
    count,
    duration,
    grouped,
    one_line,
    pair,
    quoted,
    remedy,
    where,
)

__all__ = ["Line", "Story", "duration", "grouped"]

PROGRESS_EVERY = 15.0
"""Seconds between two lines about the progress of the same task."""
ORDER = ("failed", "unreachable", "unknown", "warned", "changed", "ok", "skipped")
_BAD = ("failed", "unreachable")
ACCOUNT_OF = "check"
"""The command that gives the whole account of its checks; others tell what is wrong and how many there were."""
WIDTH = 80
"""Columns of what is drawn where nobody says how many there are."""


@dataclass(slots=True)
class _Open:
    """A task under way: what was told of it and is not yet written."""

    task: str
    nodes: tuple[str, ...]
    ended: list[TaskEnded] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    checked: list[CheckOutcome] = field(default_factory=list)
    actions: list[ActionPlanned | ActionDone] = field(default_factory=list)
    progress: dict[str, str] = field(default_factory=dict)
    progress_at: float = 0.0


class Story:
    """Turns events into lines. ``verbose`` 1 adds actions, skipped tasks and commands, 2 also scripts and outputs.
    ``width``: columns for what is drawn; a line of text may be longer."""

    def __init__(self, *, verbose: int = 0, progress: bool = True, width: int = WIDTH) -> None:
        self._verbose = verbose
        self._progress = progress
        self._width = width
        self._whole = verbose > 0
        self._open: _Open | None = None
        self._connected: list[NodeConnected] = []
        self._nodes: tuple[str, ...] = ()
        self._directory = ""
        self._planning = False

    def lines(self, event: Event) -> list[Line]:
        """What to write now that ``event`` happened."""
        return list(self._on(event))

    @singledispatchmethod
    def _on(self, event: Event) -> Iterator[Line]:
        yield from ()

    # ---- the run

    @_on.register
    def _(self, event: RunStarted) -> Iterator[Line]:
        self._nodes, self._directory, self._planning = event.nodes, event.directory, event.mode == "plan"
        self._whole = self._verbose > 0 or event.command == ACCOUNT_OF
        mode = ", plan only: nothing is changed" if self._planning else ""
        yield Line("title", f"{event.command}: {event.inventory}, {count(len(event.nodes), 'node')}{mode}")

    @_on.register
    def _(self, event: NodeConnected) -> Iterator[Line]:
        self._connected.append(event)
        yield from ()

    @_on.register
    def _(self, event: NodeUnreachable) -> Iterator[Line]:
        yield Line("unreachable", f"{'unreachable':<{COLUMN}}{event.node}: {event.reason}")
        if event.hint:
            yield remedy(event.hint)

    @_on.register
    def _(self, event: PlayStarted) -> Iterator[Line]:
        yield from self._flush()
        yield from self._flush_connected()
        if event.nodes:  # of a play without nodes a note tells
            yield Line("title", f"== {event.play} ({fold(event.nodes)})")

    @_on.register
    def _(self, event: PlayEnded) -> Iterator[Line]:
        yield from self._flush()

    @_on.register
    def _(self, event: Note) -> Iterator[Line]:
        yield Line("warned" if event.level == "warn" else "note", f"{'note':<{COLUMN}}{event.text}")

    @_on.register
    def _(self, event: GroupRestarted) -> Iterator[Line]:
        members = f" ({', '.join(event.processes)})" if (event.group,) != event.processes else ""
        text = f"{event.group}{members}, {event.number} of {event.budget}: {one_line(event.cause)}"
        yield Line("warned", f"{'restart':<{COLUMN}}{text}")

    @_on.register
    def _(self, event: ProcessChanged) -> Iterator[Line]:
        good = event.state in ("runs", "answers")
        before = f" (before: {event.before})" if event.before else ""
        text = f"{event.process} on {event.node} {one_line(event.state)}{one_line(before)}"
        yield Line("ok" if good else "warned", f"{'watch':<{COLUMN}}{text}")

    @_on.register
    def _(self, event: PhaseReached) -> Iterator[Line]:
        if self._verbose:
            yield Line("note", f"{'…':<{COLUMN}}{event.process} on {event.node}: {event.text}")

    @_on.register
    def _(self, event: CommandRan) -> Iterator[Line]:
        if self._verbose:
            yield Line("detail", f"{'$':>{COLUMN - 2}} {event.node}: {event.label}: {_came_to(event)}")
        if self._verbose > 1:
            for text in (event.script, event.stdout, event.stderr):
                yield from quoted(text)

    @_on.register
    def _(self, event: RunEnded) -> Iterator[Line]:
        yield from self._flush()
        yield from self._flush_connected()
        yield Line("failed" if event.exit_code else "end", f"{event.summary} ({duration(event.seconds)})")
        yield from _bad_nodes(event)
        if event.phases:
            yield pair("time", ", ".join(f"{name} {duration(seconds)}" for name, seconds in event.phases.items()))
        for name, value in event.facts.items():
            yield pair(name, value)
        for number, command in enumerate(event.next):
            yield pair("" if number else "next", command, "command")
        if self._directory:
            yield pair("recorded", self._directory, "command")

    def _flush_connected(self) -> Iterator[Line]:
        if self._connected:
            slowest = max(event.seconds for event in self._connected)
            names = where((event.node for event in self._connected), self._nodes)
            yield Line("ok", f"{'connected':<{COLUMN}}{names} ({duration(slowest)})")
            self._connected = []

    # ---- tasks

    @_on.register
    def _(self, event: TaskStarted) -> Iterator[Line]:
        yield from self._flush()
        yield from self._flush_connected()
        self._open = _Open(event.task, event.nodes, progress_at=event.at)

    @_on.register
    def _(self, event: TaskEnded) -> Iterator[Line]:
        task = self._of(event.task)
        task.ended.append(event)
        task.progress.pop(event.node, None)
        if {ended.node for ended in task.ended} >= set(task.nodes):
            yield from self._flush()

    @_on.register
    def _(self, event: Found) -> Iterator[Line]:
        self._of("").found.append(event)
        yield from ()

    @_on.register
    def _(self, event: Checked) -> Iterator[Line]:
        self._of(event.task).checked.extend(event.outcomes)
        yield from ()

    @_on.register
    def _(self, event: ActionPlanned) -> Iterator[Line]:
        self._of(event.task).actions.append(event)
        yield from ()

    @_on.register
    def _(self, event: ActionDone) -> Iterator[Line]:
        self._of(event.task).actions.append(event)
        yield from ()

    @_on.register
    def _(self, event: Progressed) -> Iterator[Line]:
        task = self._of(event.task)
        if not self._progress:
            return
        if not event.node:
            yield Line("note", f"{'…':<{COLUMN}}{event.text}")
            return
        task.progress[event.node] = _progress(event)
        if event.at - task.progress_at >= PROGRESS_EVERY:
            task.progress_at = event.at
            for text, nodes in grouped(task.progress.items()):
                yield Line("note", f"{'…':<{COLUMN}}{task.task}: {fold(nodes)}: {text}")

    def _of(self, task: str) -> _Open:
        if self._open is None:
            self._open = _Open(task, ())
        return self._open

    def _flush(self) -> Iterator[Line]:
        task, self._open = self._open, None
        if task is None:
            return
        yield from self._checks(task)
        yield from self._actions(task)
        yield from _failed_actions(task)
        yield from self._results(task)

    def _checks(self, task: _Open) -> Iterator[Line]:
        yield from checked.found(task.found, task.nodes, verbose=self._verbose, explain=self._whole)
        if task.checked and self._whole:
            yield from checked.mendable(task.found, task.nodes)
            yield from checked.account(task.checked, task.nodes, width=self._width, verbose=self._verbose)
        elif task.checked and any(event.status in _BAD for event in task.ended):
            yield checked.counted(task.checked)

    def _actions(self, task: _Open) -> Iterator[Line]:
        shown = [action for action in task.actions if isinstance(action, ActionPlanned) or action.diff or self._verbose]
        keyed = [((type(action), action.label, action.detail, action.diff), action.node) for action in shown]
        for (kind, label, detail, diff), nodes in grouped([(node, key) for key, node in keyed]):
            word = "would" if kind is ActionPlanned else "did"
            yield Line("changed", f"{word:<{COLUMN}}{label}: {where(nodes, task.nodes)}")
            if self._verbose:
                yield from quoted(detail)
            yield from (Line("diff", f"{'':<{COLUMN}}{line}") for line in diff.splitlines())

    def _results(self, task: _Open) -> Iterator[Line]:
        told = {finding.node for finding in task.found if finding.level == "fail"}
        groups = grouped([(event.node, _result(event, task)) for event in task.ended])
        seconds = max((event.seconds for event in task.ended), default=0.0)
        for (status, message, hint), nodes in sorted(groups, key=lambda group: ORDER.index(group[0][0])):
            if (status == "skipped" and not self._verbose) or (task.checked and self._whole and status not in _BAD):
                continue
            text = ": ".join(part for part in (task.task, where(nodes, task.nodes), one_line(message)) if part)
            word = "planned" if self._planning and status == "changed" else status
            yield Line(status, f"{word:<{COLUMN}}{text} ({duration(seconds)})")
            if status in (*_BAD, "warned"):
                yield from ([remedy(hint)] if hint and not told.intersection(nodes) else [])
                yield from _evidence(task, nodes)


# ---- pieces


def _failed_actions(task: _Open) -> Iterator[Line]:
    """Actions that failed, where the end of the task doesn't say the same: of a cluster it says only the first."""
    told = " ".join(event.message for event in task.ended)
    failed = [action for action in task.actions if isinstance(action, ActionDone) and not action.ok]
    for (label, detail), nodes in grouped([(action.node, (action.label, action.detail)) for action in failed]):
        if detail not in told or set(nodes) - {event.node for event in task.ended}:
            text = f"{label}: {where(nodes, task.nodes)}: {one_line(detail)}"
            yield Line("failed", f"{'failed':<{COLUMN}}{text}")


def _result(event: TaskEnded, task: _Open) -> tuple[str, str, str]:
    """Status, message and hint of a task's end; what a finding above it tells is not told again."""
    if task.checked and repeats(event.message, task.found):
        return event.status, "", ""
    return event.status, event.message, event.hint


def _evidence(task: _Open, nodes: Sequence[str]) -> Iterator[Line]:
    """The evidence of the first of these nodes: the others' is in the run directory, and reads much the same."""
    evidence = next((event.evidence for event in task.ended if event.node in nodes and event.evidence), "")
    yield from quoted(evidence)


def _bad_nodes(event: RunEnded) -> Iterator[Line]:
    """Only the nodes that something is wrong with: of the others nobody wants to read."""
    keyed = [
        (node, ", ".join(f"{counts[status]} {status}" for status in ORDER if counts.get(status)))
        for node, counts in event.counts.items()
        if any(counts.get(status) for status in _BAD)
    ]
    for text, nodes in grouped(keyed):
        yield Line("failed", f"{'':<{COLUMN}}{fold(nodes)}: {text}")


def _progress(event: Progressed) -> str:
    share = f"{event.fraction:.0%} " if event.fraction is not None else ""
    return f"{share}{event.text}".strip()


def _came_to(event: CommandRan) -> str:
    return f"exit {event.exit}, {duration(event.seconds)}"
