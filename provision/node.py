"""A node, and a cluster of them, as facts, checks and modules see them. The engine implements these protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from pathlib import Path

    from provision.actions import JobProgress
    from provision.events import Event
    from provision.facts.base import Fact
    from provision.http import Http
    from provision.inventory.model import Host, Settings
    from provision.results import Result

T = TypeVar("T")
R = TypeVar("R")


class Node(Protocol):
    """One node. Looking is free; changing is by yielding actions."""

    @property
    def name(self) -> str: ...

    @property
    def index(self) -> int:
        """Position in the inventory, from 0."""

    @property
    def settings(self) -> Settings:
        """The ``qnext`` variables of this host, merged and validated."""

    def get(self, fact: Fact[T]) -> T:
        """The observed value. Observes now where the play did not ask for it up front. Raises ``Unknown`` in a plan
        when a planned change may alter it, ``FactError`` where it could not be observed."""

    def observe(self, facts: Iterable[Fact[object]]) -> None:
        """Observe these facts anew, all in one exec: for waiting."""

    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        """Run a script that only reads (a log tail, say). Allowed in plans; counted as an exec."""

    def stream(self, script: str, *, deadline: float | None = None) -> Iterator[str]:
        """Lines of a reading script's output as they come, until it ends or the iterator is closed. Raises
        ``DeadlineExceeded`` where it has not ended after ``deadline`` seconds, or the task's time."""

    def pipe(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        """The bytes of a reading script's output, in pieces of any size, as they come; else like ``stream``."""

    def http(self, port: int, *, host: str = "127.0.0.1") -> Http:
        """An HTTP client to a port as seen from the node, through the node's own connection."""

    def progress(self, progress: JobProgress) -> None:
        """Show how far a wait is."""

    def keep(self, name: str, text: str) -> None:
        """Keep a text of this node (a log) as evidence in the run directory, under ``logs/<node>/<name>``."""


@dataclass(frozen=True, slots=True)
class Restart:
    """A group that this run has started again: names of its processes, and why."""

    processes: tuple[str, ...]
    cause: str


class Cluster(Protocol):
    """All selected nodes, for cluster-scoped modules and checks."""

    @property
    def nodes(self) -> Sequence[Node]: ...

    @property
    def hosts(self) -> Sequence[Host]:
        """All hosts of the inventory, whether they are among the nodes or not; empty where that is not known."""

    @property
    def settings(self) -> Settings:
        """The settings of the first node: for what must be the same on all."""

    def each(self, do: Callable[[Node], R]) -> dict[str, R]:
        """Run ``do`` for all nodes at the same time; by node name. The first error is raised after all have ended."""

    def tell(self, event: Event) -> None:
        """Tell of something that concerns more than one node."""

    def pause(self, seconds: float) -> None:
        """Wait, and be heard while waiting. Raises ``Interrupted`` where the operator asks to stop meanwhile."""

    def usual(self, launch: str) -> Mapping[str, float]:
        """How long earlier starts of this launch took: seconds by ``process: phase``; empty where there was none."""

    @property
    def folder(self) -> Path | None:
        """Where this run is recorded on the controller, for files too large for an event; None where it is not."""

    @property
    def restarts(self) -> list[Restart]:
        """Groups that were started again in this run, in order; modules add to it, and share the budget by it."""
