"""Nodes and clusters as modules, checks and facts see them: ``provision.node``'s protocols over transports.

What was observed stays known for the whole run until an action that may alter it has been performed on that node; then
it is observed anew, together with everything else the rest of the run still needs, in one exec. In a plan the same
action makes it unknown instead, because what is not performed cannot be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from provision import clock
from provision.actions import JobProgress
from provision.engine.context import Context
from provision.engine.fanout import fan_out
from provision.errors import DeadlineExceeded, FactError, Unknown
from provision.events import CommandRan, Event, Kept, Progressed
from provision.facts.base import Fact
from provision.http_client import TunnelHttp
from provision.inventory.model import Host, Settings
from provision.results import Result

if TYPE_CHECKING:
    from provision.http import Http
    from provision.node import Node, Restart
    from provision.transport.base import Transport

CommandKind = Literal["exec", "probe", "put", "get", "job"]
T = TypeVar("T")
R = TypeVar("R")


class NodeView:
    """One node of a run: its connection, what is known of it, and what it is doing."""

    def __init__(self, host: Host, transport: Transport, context: Context) -> None:
        self.host = host
        self.transport = transport
        self.context = context
        self.task = ""
        self.ends: float | None = None
        """When the present task's time is over, on the monotonic clock."""
        self.doing = ""
        """What was last seen under way."""
        self.wanted: tuple[Fact[object], ...] = ()
        """Facts that this and later tasks need, so that one exec brings all that have to be observed anew."""
        self._known: dict[Fact[object], object] = {}
        self._unknown: dict[str | None, str] = {}
        self._lock = RLock()

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def index(self) -> int:
        return self.host.index

    @property
    def settings(self) -> Settings:
        return self.host.settings

    def get(self, fact: Fact[T]) -> T:
        """See ``Node.get``."""
        self.ensure([cast("Fact[object]", fact)])
        self._require_known(fact.name)
        value = self._known[cast("Fact[object]", fact)]
        if isinstance(value, FactError):
            raise value
        return cast("T", value)

    def observe(self, facts: Iterable[Fact[object]]) -> None:
        """See ``Node.observe``. Raises ``Unknown`` where a planned change may alter one of them."""
        facts = list(dict.fromkeys(facts))
        for fact in facts:
            self._require_known(fact.name)
        with self._lock:
            self._probe(facts)

    def lacks(self, facts: Iterable[Fact[object]]) -> bool:
        """Whether one of these must be observed before it can be used."""
        return any(self._missing(fact) for fact in facts)

    def ensure(self, facts: Iterable[Fact[object]]) -> None:
        """Observe those that are not known yet, and with them all that is ``wanted``. One exec, or none."""
        facts = tuple(facts)
        with self._lock:
            if self.lacks(facts):
                self._probe([fact for fact in dict.fromkeys([*facts, *self.wanted]) if self._missing(fact)])

    def forget(self, facts: Iterable[Fact[object]]) -> None:
        """Observe these anew before their next use."""
        with self._lock:
            for fact in facts:
                self._known.pop(fact, None)

    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        """See ``Node.read``."""
        self._require_looking()
        return self.command(script, deadline=deadline, label=label or "read")

    def stream(self, script: str, *, deadline: float | None = None) -> Iterator[str]:
        """See ``Node.stream``."""
        self._require_looking()
        deadline = self.time_left() if deadline is None else self.within(deadline)
        try:
            for line in self.transport.stream(script, deadline=deadline):
                yield line.decode("utf-8", "replace").rstrip("\n")
        except DeadlineExceeded:
            self.time_left()  # where it was the task's time, that is what is told
            raise

    def pipe(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        """See ``Node.pipe``."""
        self._require_looking()
        deadline = self.time_left() if deadline is None else self.within(deadline)
        return self.transport.pipe(script, deadline=deadline)

    def http(self, port: int, *, host: str = "127.0.0.1") -> Http:
        """See ``Node.http``."""
        self._require_looking()
        return TunnelHttp(self.transport, port, host=host)

    def progress(self, progress: JobProgress) -> None:
        """See ``Node.progress``."""
        self.time_left()
        self.doing = f"{self.task}: {progress.text}"
        self.context.watch.heard(self.name)
        self.context.emitter.emit(
            Progressed(node=self.name, task=self.task, text=progress.text, fraction=progress.fraction)
        )

    def keep(self, name: str, text: str) -> None:
        """See ``Node.keep``."""
        self.context.emitter.emit(Kept(node=self.name, name=name, text=text))

    def command(self, script: str, *, deadline: float, label: str, input: bytes = b"", become: bool = True) -> Result:
        """Run a script, within the task's time, and tell of it."""
        result = self.transport.run(script, deadline=self.within(deadline), input=input, become=become, label=label)
        self.told(result, script)
        return result

    def told(self, result: Result, script: str, kind: CommandKind = "exec") -> None:
        """Tell of a command that ran."""
        self.context.emitter.emit(
            CommandRan(
                node=self.name,
                label=result.label,
                script=script,
                exit=result.exit,
                stdout=result.stdout,
                stderr=result.stderr,
                seconds=result.seconds,
                kind=kind,
            )
        )

    def affected(self, label: str, affects: frozenset[str] | None) -> None:
        """An action that may alter these facts (None: any) was performed, or planned."""
        names: Iterable[str | None] = (None,) if affects is None else affects
        with self._lock:
            if self.context.planning:
                for name in names:
                    self._unknown.setdefault(name, label)
            else:
                self._known = {
                    fact: value
                    for fact, value in self._known.items()
                    if affects is not None and fact.name not in affects
                }

    def within(self, deadline: float) -> float:
        """``deadline`` seconds, or what is left of the task's time where that is less."""
        left = self.time_left()
        return deadline if left is None else min(deadline, left)

    def time_left(self) -> float | None:
        """Seconds of the present task's time. Raises ``Interrupted`` or, where it is over, ``DeadlineExceeded``."""
        self.context.check_stop()
        if self.ends is None:
            return None
        left = self.ends - clock.monotonic()
        if left <= 0:
            raise self._outrun(-left)
        return left

    def _outrun(self, over: float) -> DeadlineExceeded:
        """The task's time is over: what it was at."""
        seen = f"last seen: {self.doing.partition(': ')[2]}" if self.doing.startswith(f"{self.task}: ") else ""
        late = Result(self.task, 124, seen, seconds=over, timed_out=True)
        message = f"{self.task}: no answer within its deadline, the time of the task" + (f"; {seen}" if seen else "")
        hint = "raise the task's timeout, or look at what it waits for: `status` and `logs` show the servers"
        return DeadlineExceeded(message, late, node=self.name, hint=hint)

    def _missing(self, fact: Fact[object]) -> bool:
        return fact not in self._known and not self._unknown_since(fact.name)

    def _probe(self, facts: Sequence[Fact[object]]) -> None:
        if not facts:
            return
        self.time_left()
        for fact, result in self.transport.probe(facts).items():
            self._known[fact] = self._parsed(fact, result)
            self.told(result, fact.script(), "probe")

    def _parsed(self, fact: Fact[object], result: Result) -> object:
        try:
            return fact.parse(result)
        except Exception as error:
            return FactError(
                f"{fact.name}: the node's answer could not be read: {type(error).__name__}: {error}",
                result,
                node=self.name,
                hint="please report this with the run directory: a parser must cope with any answer",
            )

    def _unknown_since(self, name: str) -> str:
        return self._unknown.get(None, "") or self._unknown.get(name, "")

    def _require_known(self, name: str) -> None:
        label = self._unknown_since(name)
        if label:
            raise Unknown(f"known only after: {label}")

    def _require_looking(self) -> None:
        self.time_left()
        if None in self._unknown:
            raise Unknown(f"known only after: {self._unknown[None]}")


class ClusterView:
    """The nodes of a play, for cluster-scoped modules and checks."""

    def __init__(self, nodes: Sequence[NodeView], context: Context) -> None:
        self._nodes = tuple(nodes)
        self._context = context

    @property
    def nodes(self) -> Sequence[NodeView]:
        return self._nodes

    @property
    def hosts(self) -> Sequence[Host]:
        """See ``Cluster.hosts``."""
        return self._context.hosts

    @property
    def settings(self) -> Settings:
        return self._nodes[0].settings

    def each(self, do: Callable[[Node], R]) -> dict[str, R]:
        """See ``Cluster.each``."""
        views: dict[str, Node] = {view.name: view for view in self._nodes}
        return fan_out(views, do, forks=self._context.forks, stop=self._context.stop)

    def tell(self, event: Event) -> None:
        """See ``Cluster.tell``."""
        self._context.emitter.emit(event)

    def pause(self, seconds: float) -> None:
        """See ``Cluster.pause``."""
        left = min((view.within(seconds) for view in self._nodes), default=seconds)
        clock.sleep(left, self._context.stop)
        self._context.watch.heard("")
        self._context.check_stop()

    def usual(self, launch: str) -> Mapping[str, float]:
        """See ``Cluster.usual``."""
        return self._context.usual(launch)

    @property
    def folder(self) -> Path | None:
        """See ``Cluster.folder``."""
        return self._context.folder

    @property
    def restarts(self) -> list[Restart]:
        """See ``Cluster.restarts``."""
        return self._context.restarts
