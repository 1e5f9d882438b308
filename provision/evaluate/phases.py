"""How far a server is on its way from its first log line to its first answer.

The lines are those that vLLM writes, 0.10 to 0.32, on Ascend, CUDA and CPU [domain.md section 8.1; logs in issues of
vllm-ascend and vLLM]. A start takes minutes of which nobody sees anything but the log, so every wait reads it:
``MATCHING`` lets the node send only the lines that tell something. Ranks of one process write into one log, each at
its own pace: what counts is the phase that the foremost has reached, and in that the latest line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

STARTING, JOINING, LOADING, LOADED, COMPILING, SIZED, CAPTURING, ENGINE_READY, READY = PHASES = (
    "starting",
    "joining",
    "loading weights",
    "weights loaded",
    "compiling",
    "KV cache",
    "capturing graphs",
    "engine ready",
    "ready",
)
"""In the order of a start. A headless process ends at "engine ready", one with an API at "ready"."""

MATCHING = "|".join(
    (
        "API server version|V1 LLM engine",
        "Launching [0-9]+ data parallel|core engine proc|DP Coordinator|Ray cluster|placement group|init_method=",
        "Starting to load model|oading .*(shards|loader|Streamer).*%|Loading weights took|Model loading took",
        "Dynamo bytecode|ompiling a graph|torch.compile t",
        "KV cache (size|memory)|PU blocks|Maximum concurrency",
        "apture ACL graphs|apturing .*graph|raph capturing|CUDA graph",
        "init engine",
        "Application startup complete|Uvicorn running",
    )
)
"""An extended regular expression: lines that ``progress_of`` can read anything from."""

SLOW_TIMES, SLOW_SECONDS = 2.0, 30.0
"""A phase is slow when it takes so many times as long as usual, and at least so many seconds longer."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a start stands. ``done`` of ``total`` steps of the phase where the log counts them; ``detail`` is what
    else the line says."""

    phase: str = STARTING
    done: int | None = None
    total: int | None = None
    detail: str = ""

    @property
    def index(self) -> int:
        return PHASES.index(self.phase)

    @property
    def fraction(self) -> float | None:
        """0 to 1, or None where the log doesn't count."""
        if self.done is None or not self.total:
            return None
        return min(self.done / self.total, 1.0)

    @property
    def text(self) -> str:
        """In words: ``loading weights 40 % (4/10)``."""
        if self.fraction is None:
            return f"{self.phase}: {self.detail}" if self.detail else self.phase
        counted = "" if self.total == 100 else f" ({self.done}/{self.total})"
        return f"{self.phase} {self.fraction:.0%}{counted}".replace("%", " %")


Read = Callable[[re.Match[str]], tuple[int | None, int | None, str]]


def _nothing(found: re.Match[str]) -> tuple[int | None, int | None, str]:
    return None, None, ""


def _said(words: str) -> Read:
    return lambda found: (None, None, words.format(*found.groups()))


def _bar(found: re.Match[str]) -> tuple[int | None, int | None, str]:
    """A progress bar: steps where it counts them, else its percent."""
    percent, done, total = found.groups()
    return (int(done), int(total), "") if total and int(total) else (int(percent), 100, "")


def _cases(found: re.Match[str]) -> tuple[int | None, int | None, str]:
    return 0, found[1].count(",") + 1, ""


_BAR = r"\s*(\d{1,3})%(?:[^/]*?(\d{1,6})/(\d{1,6}))?"
_MARKS: tuple[tuple[str, re.Pattern[str], Read], ...] = (
    (STARTING, re.compile(r"vLLM API server version|Initializing a V1 LLM engine"), _nothing),
    (JOINING, re.compile(r"Launching \d+ data parallel engine"), _said("the head")),
    (
        JOINING,
        re.compile(r"Waiting for (\d+) local, (\d+) remote core engine proc\(s\) to (connect|start)"),
        _said("waits for {0} local and {1} remote engines to {2}"),
    ),
    (JOINING, re.compile(r"Waiting for creating a placement group"), _said("waits for Ray to find the devices")),
    (JOINING, re.compile(r"(?:Connecting to existing|Connected to) Ray cluster"), _said("the Ray cluster")),
    (JOINING, re.compile(r"DP Coordinator process|distributed_init_method="), _nothing),
    (LOADING, re.compile(r"Starting to load model"), _nothing),
    (LOADING, re.compile(r"[Ll]oading [^:]*(?:shards|loader|Streamer)[^:]*:" + _BAR), _bar),
    (LOADED, re.compile(r"Loading weights took (\d+)(?:\.\d+)? ?s"), _said("in {0} s")),
    (LOADED, re.compile(r"Model loading took [\d.]+ Gi?B(?: memory)? and (\d+)(?:\.\d+)? ?s"), _said("in {0} s")),
    (COMPILING, re.compile(r"Compiling a graph for|Dynamo bytecode transform|torch\.compile t(?:akes|ook)"), _nothing),
    (SIZED, re.compile(r"[GCN]PU KV cache size: ([\d,]+) tokens"), _said("{0} tokens")),
    (SIZED, re.compile(r"# [GCN]PU blocks: (\d+)"), _said("{0} blocks")),
    (SIZED, re.compile(r"Available KV cache memory"), _said("being sized")),
    (CAPTURING, re.compile(r"Starting to capture ACL graphs for cases: \[([\d, ]+)\]"), _cases),
    (CAPTURING, re.compile(r"Capturing [^:]*graph[^:]*:" + _BAR), _bar),
    (CAPTURING, re.compile(r"Capturing .*graph|Profiling CUDA graph memory"), _nothing),
    (CAPTURING, re.compile(r"Graph capturing finished in (\d+)(?:\.\d+)? sec"), _said("done in {0} s")),
    (ENGINE_READY, re.compile(r"init engine \(.*\) took|init engine took"), _nothing),
    (READY, re.compile(r"Application startup complete|Uvicorn running on"), _nothing),
)


def progress_of(log: str) -> Progress | None:
    """How far the log's end says that a server is; None where it says nothing of it. Never raises."""
    best: Progress | None = None
    for line in re.split(r"[\r\n]+", log):
        found = _progress(line)
        if found and (best is None or found.index >= best.index):
            best = found
    return best


def _progress(line: str) -> Progress | None:
    for phase, pattern, read in _MARKS:
        if found := pattern.search(line):
            return Progress(phase, *read(found))
    return None


@dataclass(slots=True)
class Track:
    """One process's way through the phases, by looks at its log. Times are seconds of a monotonic clock.

    ``since``: when the present phase began, first the process itself. ``spent``: seconds in each phase that it has
    left. ``whole``: it is seen from its beginning, so that the times can be compared with those of other starts.
    ``told``: that the present phase is slow was said.
    """

    since: float
    now: Progress = field(default_factory=Progress)
    spent: dict[str, float] = field(default_factory=dict)
    whole: bool = True
    told: bool = False

    def see(self, found: Progress | None, moment: float) -> bool:
        """Take in a look; whether the phase is another than before. A start never goes back."""
        if found is None or found.index < self.now.index:
            return False
        moved = found.phase != self.now.phase
        if moved:
            self.spent[self.now.phase] = self.spent.get(self.now.phase, 0.0) + moment - self.since
            self.since, self.told = moment, False
        self.now = found
        return moved

    def text(self, moment: float, usual: float | None) -> str:
        """``loading weights 40 % (4/10), 95 s, usually 210 s``."""
        seconds = moment - self.since
        words = [self.now.text, *([f"{seconds:.0f} s"] if seconds >= 1 else [])]
        if usual is not None and usual >= 1:
            words.append(f"{'much longer than the usual' if self.slow(moment, usual) else 'usually'} {usual:.0f} s")
        return ", ".join(words)

    def slow(self, moment: float, usual: float | None) -> bool:
        """Whether the present phase takes much longer than it usually does."""
        seconds = moment - self.since
        return usual is not None and seconds > usual * SLOW_TIMES and seconds > usual + SLOW_SECONDS
