"""One task on one node, or on the cluster: condition, loop, tries, and the module's generator, driven to its end.

Nothing raises out of here: whatever happens becomes a ``StepResult``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from provision import clock
from provision.actions import On
from provision.engine import perform, scope
from provision.engine.context import Context
from provision.engine.fanout import fan_out
from provision.engine.grammar import Task
from provision.engine.outcome import StepResult, ended, failed, gathered, registered
from provision.engine.scope import Names
from provision.engine.view import ClusterView, NodeView
from provision.errors import Interrupted, ProvisionError, Unknown
from provision.facts.base import Fact
from provision.modules.base import ModuleArgs, Outcome
from provision.results import ActionResult

A = TypeVar("A")
B = TypeVar("B")


@dataclass(slots=True)
class Subject:
    """What a module runs on: ``views`` is one node's view, or all of a play's for a cluster-scoped module."""

    views: Sequence[NodeView]
    context: Context
    names: Names
    changed: int = 0

    @property
    def first(self) -> NodeView:
        return self.views[0]

    @property
    def node(self) -> str:
        """The node's name; "" where the subject is the cluster."""
        return self.first.name if len(self.views) == 1 else ""


def on_node(task: Task, view: NodeView, names: Names) -> StepResult:
    """Run a task on one node."""
    return _step(task, Subject([view], view.context, names), _drive_node)


def on_cluster(task: Task, views: Sequence[NodeView], names: Names) -> tuple[StepResult, Mapping[str, int]]:
    """Run a cluster-scoped task once; ``names`` are the first node's. Also: how many actions changed which node."""
    changes: dict[str, int] = {}

    def drive(task: Task, args: ModuleArgs, subject: Subject) -> Outcome | None:
        return _drive_cluster(task, args, subject, changes)

    return _step(task, Subject(views, views[0].context, names), drive), changes


Drive = Callable[[Task, ModuleArgs, Subject], Outcome | None]


def _step(task: Task, subject: Subject, drive: Drive) -> StepResult:
    started = clock.monotonic()

    def body() -> StepResult:
        if task.loop is None:
            return _item(task, subject, drive)
        return gathered(
            [_item(task, replace(subject, names=names, changed=0), drive) for names in _items(task, subject)]
        )

    with _timed(task, subject):
        result = _guarded(body, task, subject)
    return replace(result, seconds=clock.monotonic() - started)


def _items(task: Task, subject: Subject) -> Iterator[Names]:
    assert task.loop is not None
    for item in scope.items(task.loop, subject.names):
        yield subject.names.near({"item": item})


@contextmanager
def _timed(task: Task, subject: Subject) -> Iterator[None]:
    ends = clock.monotonic() + task.timeout if task.timeout else None
    for view in subject.views:
        view.task, view.ends = task.name, ends
    try:
        yield
    finally:
        for view in subject.views:
            view.ends = None


def _item(task: Task, subject: Subject, drive: Drive) -> StepResult:
    if task.when is not None and not scope.truth(task.when, subject.names):
        return StepResult("skipped")
    args = scope.arguments(task, subject.names)
    tries = task.retries + 1
    for attempt in range(tries):
        result = _guarded(lambda: _attempt(task, args, subject, drive), task, subject)
        if _good(task, result, subject) or subject.context.planning or isinstance(result.error, Interrupted):
            break
        if attempt + 1 < tries:
            _before_next_try(task, args, subject, f"try {attempt + 1} of {tries}: {result.message or 'not yet'}")
    return _settled(task, result, subject)


def _attempt(task: Task, args: ModuleArgs, subject: Subject, drive: Drive) -> StepResult:
    started = clock.monotonic()
    outcome = drive(task, args, subject)
    result = ended(outcome, subject.changed, clock.monotonic() - started, subject.node)
    return _as_planned(result) if subject.context.planning else result


def _as_planned(result: StepResult) -> StepResult:
    """A module tells what was done, which a plan has not: it says how much would be."""
    if result.status != "changed":
        return result
    return replace(result, message=f"{result.changed} action{'s' * (result.changed != 1)} planned")


def _good(task: Task, result: StepResult, subject: Subject) -> bool:
    """Whether no further try is needed."""
    if result.failed or result.status == "unknown":
        return result.status == "unknown"
    return task.until is None or scope.truth(task.until, _with_own(task, result, subject))


def _settled(task: Task, result: StepResult, subject: Subject) -> StepResult:
    """The last try's result: a failure where ``until`` never held, unknown where a plan does not wait for it."""
    if task.until is None or _good(task, result, subject) or result.failed:
        return result
    condition = scope.condition(task.until)
    if subject.context.planning:
        return replace(result, status="unknown", message=f"would wait until {condition}")
    message = f"after {task.retries + 1} tries it still does not hold that {condition}"
    error = ProvisionError(
        message,
        hint="look at the last answer, or raise retries or delay",
        node=subject.node,
        evidence=_last_answer(result),
    )
    return replace(result, status="failed", message=message, error=error)


def _last_answer(result: StepResult) -> str:
    """What the last try gave: its message, and its data by name."""
    data = result.outcome.data if result.outcome else {}
    return "\n".join(
        [*([result.message] if result.message else []), *(f"{name}: {value}" for name, value in data.items())]
    )


def _with_own(task: Task, result: StepResult, subject: Subject) -> Names:
    return subject.names.near({task.register: registered(result)}) if task.register else subject.names


def _before_next_try(task: Task, args: ModuleArgs, subject: Subject, text: str) -> None:
    from provision.actions import JobProgress

    for view in subject.views:
        view.forget(needs(task, args, view))
    subject.first.progress(JobProgress(None, text))
    clock.sleep(subject.first.within(task.delay), subject.context.stop)


def _guarded(body: Callable[[], StepResult], task: Task, subject: Subject) -> StepResult:
    """``body``'s result, or what it raised as a result."""
    try:
        return body()
    except Unknown as unknown:
        return StepResult("unknown", str(unknown), subject.changed)
    except ProvisionError as error:
        return failed(error, subject.changed, 0.0)
    except Exception as error:
        return failed(_defect(error, task), subject.changed, 0.0)


def _defect(error: Exception, task: Task) -> ProvisionError:
    return ProvisionError(
        f"module {task.module.name} broke: {type(error).__name__}: {error}",
        hint="please report this with the run directory: it is a defect of the module, not of your nodes",
        evidence="".join(traceback.format_exception(error)[-4:]),
    )


def needs(task: Task, args: ModuleArgs, view: NodeView) -> tuple[Fact[object], ...]:
    """The facts that the task will look at on this node."""
    return tuple(task.module.facts(args, view.settings))


# ---- generators


def _drive_node(task: Task, args: ModuleArgs, subject: Subject) -> Outcome | None:
    view = subject.first
    view.ensure(needs(task, args, view))

    def act(action: Any) -> ActionResult:
        subject.changed += perform.changes(action)
        return perform.act(action, view)

    return _drive(task.module.run(args, view), act)


def _drive_cluster(task: Task, args: ModuleArgs, subject: Subject, changes: dict[str, int]) -> Outcome | None:
    by_name = {view.name: view for view in subject.views}
    cluster = ClusterView(subject.views, subject.context)
    fan_out(
        by_name,
        lambda view: view.ensure(needs(task, args, view)),
        forks=subject.context.forks,
        stop=subject.context.stop,
    )

    def act(group: On) -> Mapping[str, ActionResult]:
        for node, action in group.actions.items():
            subject.changed += perform.changes(action)
            changes[node] = changes.get(node, 0) + perform.changes(action)
        chosen = {node: by_name[node] for node in group.actions}
        return fan_out(
            chosen,
            lambda view: perform.act(group.actions[view.name], view),
            forks=subject.context.forks,
            stop=subject.context.stop,
        )

    return _drive(task.module.run(args, cluster), act)


def _drive(run: Generator[A, B, Outcome | None] | Outcome | None, act: Callable[[A], B]) -> Outcome | None:
    """Drive a generator: perform what it yields, send back what came of it, throw in what went wrong.

    A ``run`` without a ``yield`` is a plain function whose value is the outcome.
    """
    if not isinstance(run, Generator):
        return run
    try:
        action = next(run)
        while True:
            try:
                answer = act(action)
            except ProvisionError as error:
                action = run.throw(error)
            else:
                action = run.send(answer)
    except StopIteration as stop:
        value: Outcome | None = stop.value
        return value
    finally:
        run.close()
