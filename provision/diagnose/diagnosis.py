"""What is made of the evidence of a failure: one sentence, what proves it, what followed, what to do.

Values only: ``diagnose.examine`` makes them of an ``Evidence``, wherever that came from (a live cluster, an archive,
log files), and ``render`` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from provision.diagnose.manifest import Manifest

Confidence = Literal["high", "medium", "low"]
Source = Literal["stdout", "plog", "device", "driver", "kernel", "journal", "ray"]


@dataclass(frozen=True, slots=True)
class ProcessLog:
    """One log: of a process (``process``), or of a node as such (``process`` is "").

    ``exit_code`` is None while the process runs. ``offset``: seconds that the node's clock is ahead of the
    controller's. ``zone``: seconds that times in the text are ahead of UTC; times that bear their own zone
    don't need it. ``path``: where it can be read. ``cut``: only its end is here.
    """

    node: str
    process: str
    text: str
    exit_code: int | None = None
    rank: int = 0
    oom_killed: bool = False
    container: str = ""
    source: Source = "stdout"
    offset: float = 0.0
    zone: float = 0.0
    path: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a failure. ``manifest`` is empty but for nodes and processes where only log files are."""

    manifest: Manifest
    logs: tuple[ProcessLog, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """A line that proves, or the lines around one. ``at``: seconds since the epoch by the controller's clock, None
    where the log has no times (or no year can be told); ``time`` is what to show. ``number`` counts lines from 1; 0:
    unknown.
    """

    node: str
    process: str
    line: str
    time: str = ""
    at: float | None = None
    source: Source = "stdout"
    worker: str = ""
    path: str = ""
    number: int = 0
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that followed from the first cause, in order of time. ``after``: seconds after the first cause."""

    node: str
    process: str
    title: str
    time: str = ""
    after: float | None = None
    line: str = ""


@dataclass(frozen=True, slots=True)
class Odd:
    """A rank that is conspicuous by what it did not say: ``why`` in words (no line since 12:03:01, 5 min before the
    others ended; started 93 s after the first; never joined)."""

    node: str
    process: str
    why: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``failed``: anything failed at all. ``known``: the catalogue knows the first cause; ``id`` is its entry there.

    ``sentence``: what happened, where and when, in one sentence. ``proof``: the line of the first cause first, then
    those that support it. ``commands``: what to run next, to be pasted. ``evidence``: what else to fetch. ``chain``:
    what followed. ``earliest``: the first error of each rank, where the cause is unknown. ``missing``: nodes, and
    processes as ``process on node``, whose evidence is not there. ``offsets``: by node, where clocks
    differ by more than a second.
    """

    failed: bool
    known: bool
    sentence: str
    title: str = ""
    id: str = ""
    node: str = ""
    process: str = ""
    scope: str = ""
    explanation: str = ""
    remedy: str = ""
    commands: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    runbook: str = ""
    source: str = ""
    confidence: Confidence = "low"
    proof: tuple[Proof, ...] = ()
    chain: tuple[Step, ...] = ()
    silent: tuple[Odd, ...] = ()
    late: tuple[Odd, ...] = ()
    earliest: tuple[Proof, ...] = ()
    missing: tuple[str, ...] = ()
    offsets: Mapping[str, float] = field(default_factory=dict)
