"""Everything that happens in a run, as values. Logic emits events; sinks render them: live, plain, jsonl, records.

Times are seconds since the epoch (``at``) or durations in seconds. All texts are redacted by ``Emitter.emit``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from provision.findings import CheckOutcome

Status = Literal["ok", "changed", "failed", "unknown", "skipped", "unreachable", "warned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""

    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    run: str
    command: str
    inventory: str
    nodes: tuple[str, ...]
    mode: Literal["apply", "plan"]
    directory: str
    cluster: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConnected(Event):
    node: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUnreachable(Event):
    node: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayStarted(Event):
    play: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    task: str
    module: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPlanned(Event):
    """In a plan: what would be done; ``diff`` is a unified diff for files."""

    node: str
    task: str
    label: str
    detail: str = ""
    diff: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDone(Event):
    node: str
    task: str
    label: str
    ok: bool
    seconds: float
    detail: str = ""
    diff: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed(Event):
    """A long action or wait moved on. ``fraction`` 0..1 or None."""

    node: str
    task: str
    text: str
    fraction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseReached(Event):
    """A process that starts has come to another phase of ``provision.evaluate.phases``. ``seconds``: what the phase
    before took; ``usual``: what this one takes as a rule, or None."""

    node: str
    process: str
    phase: str
    text: str
    seconds: float = 0.0
    usual: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMeasured(Event):
    """How long the phases of a start took: seconds by ``process: phase``. ``launch`` is the digest of all launch
    scripts: only starts of the same are alike."""

    cluster: str
    launch: str
    durations: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRestarted(Event):
    """A process ended, so all that work with it are stopped and started again: for the ``number``-th time of at most
    ``budget``."""

    group: str
    processes: tuple[str, ...]
    node: str
    cause: str
    number: int
    budget: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessChanged(Event):
    """What is watched is otherwise than at the last look: ``state`` now, and ``before``."""

    node: str
    process: str
    state: str
    before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Event):
    """A check's finding."""

    node: str
    check: str
    code: str
    level: str
    summary: str
    remedy: str
    expected: str = ""
    observed: str = ""
    fix: str = ""
    waived: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked(Event):
    """All that a task's checks came to: passes, findings, comparisons, matrices. For tables and reports."""

    task: str
    outcomes: tuple[CheckOutcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnded(Event):
    """A task's end on one node (``node`` is "" for a cluster-scoped module that names none)."""

    node: str
    task: str
    status: Status
    message: str = ""
    hint: str = ""
    evidence: str = ""
    seconds: float = 0.0
    changed: int = 0
    diagnosis: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayEnded(Event):
    play: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRan(Event):
    """A remote command as it was sent, for the run directory and ``-v``."""

    node: str
    label: str
    script: str
    exit: int
    stdout: str
    stderr: str
    seconds: float
    kind: Literal["exec", "probe", "put", "get", "job"] = "exec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept(Event):
    """Evidence for the run directory: a text of a node, as ``logs/<node>/<name>``."""

    node: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Event):
    """Something an operator should read: a line of advice, a warning."""

    text: str
    level: Literal["info", "warn"] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded(Event):
    """``facts`` are result lines for the end: endpoint, model, ranks; ``next`` are commands to type."""

    exit_code: int
    seconds: float
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    summary: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    next: tuple[str, ...] = ()
    phases: dict[str, float] = field(default_factory=dict)


class Sink(Protocol):
    """Receives every event, from any thread, one at a time (the emitter holds a lock)."""

    def handle(self, event: Event) -> None: ...

    def close(self) -> None: ...
