"""What every step of a run shares: how to tell, whether to change, how to stop, what is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from provision import clock
from provision.emitter import Emitter
from provision.errors import Interrupted
from provision.events import Progressed
from provision.inventory.model import Host
from provision.node import Restart

WATCH_EVERY = 15.0
"""Seconds of silence after which the operator is told what a run waits for."""
_NAMED = 4


@dataclass(slots=True)
class _Waiting:
    task: str
    since: float
    heard: float


@dataclass(slots=True)
class Watch:
    """Knows which nodes are busy with what, and since when; speaks up when nothing was heard for a while."""

    emitter: Emitter
    _busy: dict[str, _Waiting] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def busy(self, node: str, task: str) -> Iterator[None]:
        """While in the context, ``node`` works on ``task``."""
        moment = clock.monotonic()
        with self._lock:
            self._busy[node] = _Waiting(task, moment, moment)
        try:
            yield
        finally:
            with self._lock:
                self._busy.pop(node, None)

    def heard(self, node: str) -> None:
        """Progress of ``node`` was shown just now; the cluster (its name is "") is heard through its nodes."""
        with self._lock:
            for name in (node, ""):
                if name in self._busy:
                    self._busy[name].heard = clock.monotonic()

    def run(self, stop: Event) -> None:
        """Speak up until ``stop`` is set. Meant for a thread."""
        while not clock.sleep(1.0, stop):
            self.speak()

    def speak(self) -> None:
        """One ``Progressed`` a task for all its nodes that have been silent for ``WATCH_EVERY`` seconds."""
        moment = clock.monotonic()
        silent: dict[str, list[str]] = {}
        longest: dict[str, float] = {}
        with self._lock:
            for node, waiting in self._busy.items():
                if moment - waiting.heard >= WATCH_EVERY:
                    waiting.heard = moment
                    silent.setdefault(waiting.task, []).append(node)
                    longest[waiting.task] = max(longest.get(waiting.task, 0.0), moment - waiting.since)
        for task, nodes in silent.items():
            one = nodes[0] if len(nodes) == 1 else ""  # who shows it names that node and the task beside it
            since = f"{longest[task]:.0f} s"
            text = f"waiting, {since}" if one else f"waiting for {some(nodes)}: {task}, {since}"
            self.emitter.emit(Progressed(node=one, task=task, text=text))


def some(nodes: list[str]) -> str:
    """A few nodes by name, the rest by number; "" is the cluster."""
    named = [node for node in nodes if node] or ["the cluster"]
    more = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Context:
    """``planning``: nothing may be performed. ``stop``: set to stop the run. ``forks``: nodes at a time. ``usual``:
    what earlier starts took, by the digest of their launch. ``restarts``: groups that this run has started again.
    ``hosts``: all of the inventory. ``folder``: where the run is recorded."""

    emitter: Emitter
    watch: Watch
    planning: bool = False
    diff: bool = False
    forks: int = 64
    stop: Event = field(default_factory=Event)
    usual: Callable[[str], Mapping[str, float]] = lambda launch: {}
    restarts: list[Restart] = field(default_factory=list)
    hosts: Sequence[Host] = ()
    folder: Path | None = None

    def check_stop(self) -> None:
        """Raise ``Interrupted`` where the operator has asked to stop."""
        if self.stop.is_set():
            raise Interrupted(
                "stopped by the operator", hint="run the same command again: it goes on from what is there"
            )
