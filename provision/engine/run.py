"""A whole run: connect, observe, play after play, and the account at the end.

``execute`` never raises for what happens to a run: it becomes the report's exit code. ``session`` is for commands that
only look and need no playbook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from provision import clock
from provision.emitter import Emitter
from provision.engine.arguments import render
from provision.engine.context import Context, Watch, some
from provision.engine.fanout import collect
from provision.engine.grammar import Frame, Play, Playbook
from provision.engine.header import resolve_params
from provision.engine.outcome import Registered
from provision.engine.play import run_play
from provision.engine.select import tagged
from provision.engine.state import Failure, State, TaskOutcome, exit_code
from provision.engine.view import ClusterView, NodeView
from provision.errors import ChecksFailed, Drift, Interrupted, LockHeld, ProvisionError, Unreachable, UsageError
from provision.events import NodeConnected, NodeUnreachable, Note, RunEnded, RunStarted
from provision.facts.base import Fact
from provision.inventory.model import Host, Inventory
from provision.node import Cluster, Node
from provision.transport.pool import Pool

Mode = Literal["apply", "plan"]
OnFailure = Callable[[Cluster, Sequence[ProvisionError]], Mapping[str, str]]

_NOTHING_RAN = (ChecksFailed, UsageError, LockHeld, Drift, Interrupted)
"""Errors of which the nodes have no more to tell."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """``stop`` is set to end the run cleanly. ``command``, ``run`` and ``directory`` are only told (``RunStarted``).
    ``usual``: seconds that earlier starts took, by the digest of their launch. ``on_failure``: called once, with the
    nodes that still answer and the errors, where a run that changes things fails by what happened on its nodes; what it
    gives is added to the account."""

    mode: Mode = "apply"
    diff: bool = False
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    allow_unreachable: bool = False
    forks: int = 64
    stop: Event = field(default_factory=Event)
    command: str = ""
    run: str = ""
    directory: str = ""
    usual: Callable[[str], Mapping[str, float]] = lambda launch: {}
    on_failure: OnFailure | None = None


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended. ``errors`` are by node, "" for the cluster; ``changed`` counts actions (in a plan: planned)."""

    exit_code: int
    summary: str
    counts: Mapping[str, Mapping[str, int]]
    registered: Mapping[str, Mapping[str, Registered]]
    outcomes: tuple[TaskOutcome, ...]
    facts: Mapping[str, str]
    next: tuple[str, ...]
    phases: Mapping[str, float]
    unreachable: Mapping[str, ProvisionError]
    errors: Mapping[str, ProvisionError]

    @property
    def changed(self) -> int:
        return sum(outcome.changed for outcome in self.outcomes)


def execute(
    playbook: Playbook,
    inventory: Inventory,
    hosts: Sequence[Host],
    *,
    params: Mapping[str, object],
    options: RunOptions,
    pool: Pool,
    emitter: Emitter,
) -> RunReport:
    """Run a loaded playbook on ``hosts``, already limited. Emits ``RunStarted`` … ``RunEnded``."""
    started = clock.monotonic()
    emitter.emit(_run_started(playbook, inventory, hosts, options))
    context = Context(
        emitter,
        Watch(emitter),
        options.mode == "plan",
        options.diff,
        max(options.forks, 1),
        options.stop,
        options.usual,
        hosts=inventory.hosts,
        folder=Path(options.directory) if options.directory else None,
    )
    state = State(playbook, inventory, context, {}, tags=options.tags, skip_tags=options.skip_tags)
    with _watching(context):
        _guarded(lambda: _run(state, hosts, params, options, pool), state)
        _look_into_failure(state, options)
    report = _report(state)
    emitter.emit(_run_ended(report, clock.monotonic() - started))
    return report


def _guarded(run: Callable[[], None], state: State) -> None:
    try:
        run()
    except ProvisionError as error:
        state.failures.setdefault(error.node, Failure(error, "", error.node))


def _look_into_failure(state: State, options: RunOptions) -> None:
    """Let ``on_failure`` see the nodes before anything is cleaned up. Whatever happens there, the failure is told."""
    failures = [failure.error for failure in state.failures.values()]
    if options.on_failure is None or state.context.planning or state.context.stop.is_set():
        return
    if all(isinstance(error, _NOTHING_RAN) for error in failures):
        return
    lost = {error.node for error in failures if isinstance(error, Unreachable)}
    views = [view for name, view in state.views.items() if name not in lost]
    try:
        state.facts.update(options.on_failure(ClusterView(views, state.context), failures))
    except ProvisionError as error:
        text = f"what the nodes tell of it could not be collected: {error}"
        state.context.emitter.emit(Note(text=text, level="warn"))


def _run(state: State, hosts: Sequence[Host], params: Mapping[str, object], options: RunOptions, pool: Pool) -> None:
    _set_params(state, params)
    _connect(state, hosts, pool)
    if state.unreachable and not options.allow_unreachable:
        return
    for index, play in enumerate(state.playbook.plays):
        if state.over or not state.live():
            return
        if _any_selected(play, state):
            run_play(index, play, state)


def _any_selected(play: Play, state: State) -> bool:
    return any(tagged(play, task, state.tags, state.skip_tags) for task in play.tasks)


def _set_params(state: State, given: Mapping[str, object]) -> None:
    """Parameters of the playbook and of all that it imports."""
    root = resolve_params(state.playbook.header, given)

    def of(frame: Frame) -> Mapping[str, object]:
        if id(frame) not in state.params:
            state.params[id(frame)] = root if frame.parent is None else bound(frame, of(frame.parent))
        return state.params[id(frame)]

    def bound(frame: Frame, outer: Mapping[str, object]) -> Mapping[str, object]:
        names = {"params": outer}
        return resolve_params(frame.header, {name: render(node, names) for name, node in frame.bindings.items()})

    for play in state.playbook.plays:
        of(play.frame)


# ---- connections


def _connect(state: State, hosts: Sequence[Host], pool: Pool) -> None:
    started = clock.monotonic()
    views, state.unreachable = connect(hosts, pool, state.context)
    state.views.update(views)
    state.phases["connect"] = clock.monotonic() - started


def connect(
    hosts: Sequence[Host], pool: Pool, context: Context
) -> tuple[dict[str, NodeView], dict[str, ProvisionError]]:
    """Open a connection to each host, all at once: the views of those that answered; why the others did not."""

    def open_one(host: Host) -> NodeView:
        started = clock.monotonic()
        with context.watch.busy(host.name, "connect"):
            view = NodeView(host, pool.get(host), context)
        context.emitter.emit(NodeConnected(node=host.name, seconds=clock.monotonic() - started))
        return view

    opened = collect({host.name: host for host in hosts}, open_one, forks=context.forks, stop=context.stop)
    refused: dict[str, ProvisionError] = {}
    for name, error in opened.errors.items():
        if not isinstance(error, ProvisionError):
            raise error
        refused[name] = error
        context.emitter.emit(NodeUnreachable(node=name, reason=error.message, hint=error.hint))
    return {host.name: opened.results[host.name] for host in hosts if host.name in opened.results}, refused


@contextmanager
def _watching(context: Context) -> Iterator[None]:
    """Tell what is waited for while in the context."""
    enough = Event()
    thread = Thread(target=context.watch.run, args=(enough,), name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


# ---- the account


def _run_started(playbook: Playbook, inventory: Inventory, hosts: Sequence[Host], options: RunOptions) -> RunStarted:
    return RunStarted(
        run=options.run,
        command=options.command or playbook.header.name,
        inventory=inventory.path,
        nodes=tuple(host.name for host in hosts),
        mode=options.mode,
        directory=options.directory,
        cluster=inventory.settings.cluster,
    )


def _report(state: State) -> RunReport:
    errors = {node: failure.error for node, failure in state.failures.items()}
    all_errors = [*state.unreachable.values(), *errors.values()]
    if state.context.stop.is_set():
        all_errors.append(Interrupted("stopped by the operator"))
    code = exit_code(all_errors)
    return RunReport(
        exit_code=code,
        summary=_summary(state, code),
        counts=state.counts,
        registered=state.registered,
        outcomes=tuple(state.outcomes),
        facts=state.facts,
        next=tuple(state.next),
        phases=state.phases,
        unreachable=state.unreachable,
        errors=errors,
    )


def _run_ended(report: RunReport, seconds: float) -> RunEnded:
    return RunEnded(
        exit_code=report.exit_code,
        seconds=seconds,
        counts={node: dict(counts) for node, counts in report.counts.items()},
        summary=report.summary,
        facts=dict(report.facts),
        next=report.next,
        phases=dict(report.phases),
    )


def _summary(state: State, code: int) -> str:
    """How it ended, in one sentence."""
    changed = sum(outcome.changed for outcome in state.outcomes)
    if code == 130:
        return f"stopped by the operator; {_changes(changed, state)} until then"
    if state.failures:
        return _failure_sentence(state)
    if state.unreachable:
        rest = f"on the others: {_changes(changed, state)}" if state.outcomes else "nothing was done"
        return f"{some(list(state.unreachable))} cannot be reached; {rest}"
    if state.context.planning:
        return f"plan: {_changes(changed, state)}; nothing was changed"
    return f"done: {_changes(changed, state)}"


def _failure_sentence(state: State) -> str:
    first = next(iter(state.failures.values()))
    nodes = [node for node in state.failures if node] or [first.node] * bool(first.node)
    at = f" at {first.task!r}" if first.task else ""
    on = f" on {some(nodes)}" if nodes else ""
    return f"failed{at}{on}: {first.message}"


def _changes(changed: int, state: State) -> str:
    if not changed:
        return "nothing to change" if state.context.planning else "nothing changed"
    nodes = {outcome.node for outcome in state.outcomes if outcome.changed and outcome.node}
    actions = f"{changed} action" + ("s" if changed > 1 else "")
    on = f"on {len(nodes)} node" + ("s" if len(nodes) > 1 else "")
    return f"{actions} {'planned' if state.context.planning else 'performed'} {on}"


# ---- without a playbook


class Session(ClusterView):
    """The reachable nodes, to look at; ``unreachable`` says why the others are not among them."""

    def __init__(self, nodes: Sequence[NodeView], unreachable: Mapping[str, ProvisionError], context: Context) -> None:
        super().__init__(nodes, context)
        self.unreachable = unreachable
        self._context = context

    def observe(self, facts: Iterable[Fact[object]] | Callable[[Node], Iterable[Fact[object]]]) -> None:
        """Observe on all nodes at the same time, one exec each. A node whose connection breaks becomes unreachable."""
        chosen = facts if callable(facts) else _constant(tuple(facts))
        errors = self._collect(lambda view: view.observe(chosen(view)))
        for name, error in errors.items():
            if not isinstance(error, Unreachable):
                raise error
            self._lose(name, error)

    def _collect(self, do: Callable[[NodeView], None]) -> Mapping[str, Exception]:
        views = {view.name: view for view in self.nodes}
        return collect(views, do, forks=self._context.forks, stop=self._context.stop).errors

    def _lose(self, name: str, error: Unreachable) -> None:
        self.unreachable = {**self.unreachable, name: error}
        self._nodes = tuple(view for view in self._nodes if view.name != name)
        self._context.emitter.emit(NodeUnreachable(node=name, reason=error.message, hint=error.hint))


def _constant(facts: tuple[Fact[object], ...]) -> Callable[[Node], Iterable[Fact[object]]]:
    return lambda _: facts


def session(
    inventory: Inventory,
    hosts: Sequence[Host],
    pool: Pool,
    emitter: Emitter,
    *,
    forks: int = 64,
    stop: Event | None = None,
) -> Session:
    """Connect to ``hosts`` to look at them. Unreachable ones are collected, not raised."""
    context = Context(emitter, Watch(emitter), forks=max(forks, 1), stop=stop or Event(), hosts=inventory.hosts)
    views, unreachable = connect(hosts, pool, context)
    return Session(list(views.values()), unreachable, context)
