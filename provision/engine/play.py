"""One play: its nodes, batch by batch, through its tasks; then handlers, then ``rescue`` for those that failed.

Linear, as Ansible's default: every task runs on all live nodes at the same time, and the next begins when all have
ended. A node that fails leaves; the others go on, unless what failed was the cluster as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from provision import clock
from provision.engine import gather, scope, select, step
from provision.engine.fanout import fan_out
from provision.engine.grammar import Play, Task
from provision.engine.outcome import StepResult, refusal, registered
from provision.engine.state import Failure, Slot, State
from provision.engine.view import NodeView
from provision.errors import Interrupted, ProvisionError, Unknown, Unreachable
from provision.events import Note, PlayEnded, PlayStarted, Status, TaskStarted


def run_play(index: int, play: Play, state: State) -> None:
    """Run the play at ``index``, once for each item of its loop."""
    try:
        for item in scope.play_items(play, state):
            if not state.over:
                _pass(index, play, state, item)
    except Unknown as unknown:
        state.context.emitter.emit(Note(text=f"{play.name}: {unknown}"))


def _pass(index: int, play: Play, state: State, item: Mapping[str, object]) -> None:
    chosen = {host.name for host in scope.hosts(play.hosts, play, state, item)}
    there = [view for view in state.live() if view.name in chosen]
    views = [view for view in there if scope.play_applies(play, state, view, item)]
    if there and not views:
        return  # its condition holds nowhere: nothing to tell
    started = clock.monotonic()
    state.context.emitter.emit(PlayStarted(play=play.name, nodes=tuple(view.name for view in views)))
    try:
        _on(views, index, play, state, item)
    finally:
        seconds = clock.monotonic() - started
        state.phases[play.name] = state.phases.get(play.name, 0.0) + seconds
        state.context.emitter.emit(PlayEnded(play=play.name, seconds=seconds))


def _on(views: Sequence[NodeView], index: int, play: Play, state: State, item: Mapping[str, object]) -> None:
    if not views:
        state.context.emitter.emit(Note(text=f"{play.name}: no node to run on"))
        return
    gather.observe(index, play, state, views, item)
    live = [view for view in views if view.name not in state.failures]
    for batch in select.batches(live, play.serial):
        if not state.over:
            _Batch(index, play, state, item, batch).run()


@dataclass(slots=True)
class _Course:
    """A list of tasks on its way: who is still on it, who left it and why, who must be told a handler."""

    live: dict[str, NodeView]
    extra: Mapping[str, Mapping[str, object]]
    failures: dict[str, Failure] = field(default_factory=dict)
    notified: dict[str, list[str]] = field(default_factory=dict)
    fatal: Failure | None = None
    stopped: bool = False

    @property
    def going(self) -> bool:
        return bool(self.live) and self.fatal is None and not self.stopped

    def leave(self, node: str, failure: Failure) -> None:
        self.failures[node] = failure
        self.live.pop(node, None)

    def notify(self, handlers: Iterable[str], node: str) -> None:
        for handler in handlers:
            nodes = self.notified.setdefault(handler, [])
            if node not in nodes:
                nodes.append(node)


class _Batch:
    """A play's tasks on one batch of its nodes."""

    def __init__(
        self, index: int, play: Play, state: State, item: Mapping[str, object], views: Sequence[NodeView]
    ) -> None:
        self.index = index
        self.play = play
        self.state = state
        self.views = {view.name: view for view in views}
        self.item = item

    def run(self) -> None:
        course = _Course(dict(self.views), {})
        rescued: set[str] = set()
        try:
            self._tasks(course)
            self._handlers(course)
            rescued = self._rescue(course)
        except Interrupted:
            course.stopped = True
        self._settle(course, rescued)

    def _tasks(self, course: _Course) -> None:
        for number, task in enumerate(self.play.tasks):
            if course.going and select.tagged(self.play, task, self.state.tags, self.state.skip_tags):
                self._want((self.index, number))
                self._task(task, course)
                self._limit(course)

    def _want(self, slot: Slot) -> None:
        for view in self.views.values():
            view.wanted = self.state.wanted(view.name, slot)

    def _limit(self, course: _Course) -> None:
        """End the course where more nodes failed than the play allows, or the operator asked to stop."""
        if select.too_many(len(course.failures), len(self.views), self.play.max_fail_percentage):
            course.stopped = True
            self.state.over = True
        if self.state.context.stop.is_set():
            course.stopped = True

    # ---- one task

    def _task(self, task: Task, course: _Course) -> None:
        views = self._chosen(task, course)
        if not views:
            return
        nodes = tuple(view.name for view in views)
        self.state.context.emitter.emit(TaskStarted(task=task.name, module=task.module.name, nodes=nodes))
        if task.module.scope == "cluster":
            self._cluster_task(task, views, course)
        elif task.run_once:
            self._once(task, views, course)
        else:
            results = fan_out(
                {view.name: view for view in views},
                lambda view: self._node_task(task, view, course),
                forks=self.state.context.forks,
                stop=self.state.context.stop,
            )
            for node, result in results.items():
                self._after(task, node, result, course)

    def _chosen(self, task: Task, course: _Course) -> list[NodeView]:
        views = list(course.live.values())
        if task.hosts is None:
            return views
        chosen = {host.name for host in scope.hosts(task.hosts, self.play, self.state, self.item)}
        return [view for view in views if view.name in chosen]

    def _node_task(self, task: Task, view: NodeView, course: _Course) -> StepResult:
        with self.state.context.watch.busy(view.name, task.name):
            result = step.on_node(task, view, self._names(view, course))
        self.state.found(result, task.name, view.name)
        self.state.ended(self.play, task, view.name, result, _shown(task, result))
        return result

    def _once(self, task: Task, views: Sequence[NodeView], course: _Course) -> None:
        result = self._node_task(task, views[0], course)
        self._after(task, views[0].name, result, course)
        for view in views[1:]:
            self._register(task, view.name, result)

    def _cluster_task(self, task: Task, views: Sequence[NodeView], course: _Course) -> None:
        with self.state.context.watch.busy("", task.name):
            result, changes = step.on_cluster(task, views, self._names(views[0], course))
        self.state.found(result, task.name, "")
        self._tell_cluster(task, views, result, changes)
        self.state.contribute(result)
        for view in views:
            self._register(task, view.name, result)
            if changes.get(view.name):
                course.notify(task.notify, view.name)
        if result.failed and not _ignored(task, result):
            course.fatal = Failure(_error(result), task.name, result.error.node if result.error else "")

    def _tell_cluster(
        self, task: Task, views: Sequence[NodeView], result: StepResult, changes: Mapping[str, int]
    ) -> None:
        """A cluster's end in terms of its nodes: the ones to blame by name, the others by what was changed on them.
        What was done on some is not said of the others."""
        shown = _shown(task, result)
        blamed = _blamed(result) & {view.name for view in views}
        for view in views:
            changed = changes.get(view.name, 0)
            if view.name in blamed:
                self.state.ended(self.play, task, view.name, _about(result, view.name, changed), shown)
            elif not result.failed:
                bystander = bool(result.changed and not changed)
                message = "" if bystander else result.message
                own = replace(result, changed=changed, status=_own_status(result, changed), message=message)
                self.state.ended(self.play, task, view.name, own)
            elif changed:
                part = StepResult("changed", changed=changed, seconds=result.seconds)
                self.state.ended(self.play, task, view.name, part)
        if result.failed and not blamed:
            self.state.ended(self.play, task, "", replace(result, changed=0), shown)

    def _after(self, task: Task, node: str, result: StepResult, course: _Course) -> None:
        self.state.contribute(result)
        self._register(task, node, result)
        if result.changed and not result.failed:
            course.notify(task.notify, node)
        if result.failed and not _ignored(task, result):
            course.leave(node, Failure(_error(result), task.name, node))

    def _register(self, task: Task, node: str, result: StepResult) -> None:
        if task.register:
            self.state.register(node, task.register, registered(result))

    def _names(self, view: NodeView, course: _Course) -> scope.Names:
        item = {**self.item, **course.extra.get(view.name, {})}
        return scope.names(self.play, self.state, view, item, tuple(self.views))

    # ---- after the tasks

    def _handlers(self, course: _Course) -> None:
        """Each notified handler once, in the order of the file, on the nodes that asked for it and did not fail."""
        for handler in self.play.handlers:
            nodes = course.notified.get(handler.name, [])
            views = {node: course.live[node] for node in nodes if node in course.live}
            if not (views and course.going):
                continue
            part = _Course(views, course.extra)
            self._task(handler, part)
            course.fatal = part.fatal
            for node, failure in part.failures.items():
                course.leave(node, failure)

    def _rescue(self, course: _Course) -> set[str]:
        """Run ``rescue`` on the nodes that failed; the names of those on which it ended well."""
        failures = {node: failure for node, failure in self._failed(course).items() if _rescuable(node, failure)}
        if not (self.play.rescue and failures) or self.state.context.stop.is_set():
            return set()
        extra = {node: {"failure": failure} for node, failure in failures.items()}
        part = _Course({node: self.views[node] for node in failures}, extra)
        for task in self.play.rescue:
            if part.going:
                self._task(task, part)
        return set() if part.fatal else set(part.live)

    def _failed(self, course: _Course) -> dict[str, Failure]:
        """The failed nodes; all of them where the cluster as a whole failed."""
        if course.fatal is None:
            return course.failures
        return {node: course.failures.get(node, course.fatal) for node in self.views}

    def _settle(self, course: _Course, rescued: set[str]) -> None:
        """Failures become the run's, except those that were rescued."""
        for node in rescued:
            self.state.count(node, "rescued")
        for node, failure in course.failures.items():
            if node not in rescued or self.state.over:
                self.state.failures[node] = failure
        if course.fatal and not rescued.issuperset(set(self.views) - set(course.failures)):
            self.state.failures[course.fatal.node] = course.fatal
            self.state.over = True
        if self.state.context.stop.is_set():
            self.state.over = True


# ---- small decisions


def _error(result: StepResult) -> ProvisionError:
    return result.error or ProvisionError(result.message)


def _ignored(task: Task, result: StepResult) -> bool:
    return task.ignore_errors and not isinstance(result.error, Unreachable | Interrupted)


def _shown(task: Task, result: StepResult) -> Status | None:
    return "warned" if result.failed and _ignored(task, result) else None


def _rescuable(node: str, failure: Failure) -> bool:
    """Not the node that can't be talked to; the others of a cluster that failed by it are."""
    return not (isinstance(failure.error, Unreachable) and failure.node == node)


def _blamed(result: StepResult) -> set[str]:
    """The nodes that a cluster's failure names."""
    if not result.failed:
        return set()
    named = {finding.node for finding in result.findings if finding.level == "fail" and finding.node}
    errors = (result.error, *result.error.also) if result.error else ()
    return named | {error.node for error in errors if error.node}


def _about(result: StepResult, node: str, changed: int) -> StepResult:
    """What a cluster's failure says of one node: its own findings where it has any."""
    own = [finding for finding in result.findings if finding.level == "fail" and finding.node == node]
    if not own:
        error = next((each for each in (result.error.also if result.error else ()) if each.node == node), result.error)
        message = error.message if error else result.message
        return replace(result, changed=changed, message=message, error=error)
    error = refusal(own, node)
    return replace(result, changed=changed, message=error.message, error=error)


def _own_status(result: StepResult, changed: int) -> Status:
    if result.status == "changed" and not changed:
        return "ok"
    return result.status
