"""What a run will look at, worked out before it begins, so that one exec a node observes it all.

Every task whose arguments are known already says which facts it needs; those of all plays to come travel together. A
task whose arguments depend on a result is asked when the result is there, and observes for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from provision import clock
from provision.engine import scope, step
from provision.engine.fanout import collect
from provision.engine.grammar import Play, Task
from provision.engine.select import tagged
from provision.engine.state import Failure, State
from provision.engine.view import NodeView
from provision.errors import ProvisionError, Unknown
from provision.events import Status, TaskEnded, TaskStarted
from provision.facts.base import Fact

TASK = "observe"


def observe(index: int, play: Play, state: State, views: Sequence[NodeView], item: Mapping[str, object]) -> None:
    """Observe, on the play's nodes (before the first play: on all), what the tasks from this play on will look at."""
    everybody = state.live() if not state.needs else list(views)
    for number in range(index, len(state.playbook.plays)):
        _note_needs(number, state, item if number == index else {})
    lacking = []
    for view in everybody:
        view.wanted = state.wanted(view.name, (index, 0))
        if view.lacks(view.wanted):
            lacking.append(view)
    if lacking:
        _observe(lacking, state)


def _observe(views: Sequence[NodeView], state: State) -> None:
    emit = state.context.emitter.emit
    emit(TaskStarted(task=TASK, module="facts", nodes=tuple(view.name for view in views)))
    started = clock.monotonic()
    for view in views:
        view.task = TASK

    def look(view: NodeView) -> None:
        with state.context.watch.busy(view.name, TASK):
            view.ensure(view.wanted)
        emit(TaskEnded(node=view.name, task=TASK, status="ok", seconds=clock.monotonic() - started))

    errors = collect(
        {view.name: view for view in views}, look, forks=state.context.forks, stop=state.context.stop
    ).errors
    for node, error in errors.items():
        _failed(node, error, state)


def _failed(node: str, error: Exception, state: State) -> None:
    if not isinstance(error, ProvisionError):
        raise error
    status: Status = "unreachable" if error.exit_code == 4 else "failed"
    state.count(node, status)
    state.failures[node] = Failure(error, TASK, node)
    state.context.emitter.emit(
        TaskEnded(node=node, task=TASK, status=status, message=error.message, hint=error.hint, evidence=error.evidence)
    )


# ---- who needs what


def _note_needs(number: int, state: State, item: Mapping[str, object]) -> None:
    play = state.playbook.plays[number]
    try:
        chosen = {host.name for host in scope.hosts(play.hosts, play, state, item)}
    except (ProvisionError, Unknown):
        return
    tasks = [pair for pair in enumerate(play.tasks) if tagged(play, pair[1], state.tags, state.skip_tags)]
    for view in state.live():
        if view.name in chosen and scope.play_applies(play, state, view, item):
            known = state.needs.setdefault(view.name, {})
            for place, task in tasks:
                if (number, place) not in known:
                    facts = _needs(play, task, state, view, item)
                    if facts is not None:
                        known[number, place] = facts


def _needs(
    play: Play, task: Task, state: State, view: NodeView, item: Mapping[str, object]
) -> tuple[Fact[object], ...] | None:
    """The facts a task needs on a node; None where that can't be told yet, or the task won't run there."""
    try:
        names = scope.names(play, state, view, item)
        facts: list[Fact[object]] = []
        for each in _passes(task, names):
            if task.when is not None and not scope.truth(task.when, each):
                continue
            facts += step.needs(task, scope.arguments(task, each), view)
        return tuple(dict.fromkeys(facts)) if facts or task.when is None else None
    except Exception:
        # It is not known yet, or wrong: the task itself will say which, at its time and place.
        return None


def _passes(task: Task, names: scope.Names) -> Iterable[scope.Names]:
    if task.loop is None:
        return [names]
    return [names.near({"item": item}) for item in scope.items(task.loop, names)]
