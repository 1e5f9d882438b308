"""What a run has come to so far: who is still in it, what was registered, what failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from provision.engine.context import Context
from provision.engine.grammar import Frame, Play, Playbook, Task
from provision.engine.outcome import Registered, StepResult
from provision.engine.view import NodeView
from provision.errors import ProvisionError
from provision.events import Checked, Found, Status, TaskEnded
from provision.facts.base import Fact
from provision.inventory.model import Inventory

if TYPE_CHECKING:
    from provision.modules.base import Outcome

Slot = tuple[int, int]
"""Where a task stands: index of its play in the playbook, index in the play's tasks."""


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """One task's end on one node; ``node`` is "" for the cluster as a whole."""

    play: str
    task: str
    module: str
    node: str
    status: Status
    message: str = ""
    changed: int = 0
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a node (or, with node "", the cluster) left a play; ``failure`` in the expressions of ``rescue``."""

    error: ProvisionError
    task: str
    node: str

    @property
    def message(self) -> str:
        return self.error.message

    @property
    def hint(self) -> str:
        return self.error.hint


@dataclass(slots=True)
class State:
    """Everything that changes while a run goes on. Tasks end in their nodes' threads; what they write is per node."""

    playbook: Playbook
    inventory: Inventory
    context: Context
    views: dict[str, NodeView]
    params: dict[int, Mapping[str, object]] = field(default_factory=dict)
    registered: dict[str, dict[str, Registered]] = field(default_factory=dict)
    needs: dict[str, dict[Slot, tuple[Fact[object], ...]]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    outcomes: list[TaskOutcome] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    next: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)
    unreachable: dict[str, ProvisionError] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    over: bool = False

    def live(self) -> list[NodeView]:
        """The nodes that are still in the run, in inventory order."""
        return [view for view in self.views.values() if view.name not in self.failures]

    def params_of(self, frame: Frame) -> Mapping[str, object]:
        """The parameters that plays of this file see."""
        return self.params[id(frame)]

    def count(self, node: str, what: str) -> None:
        """One more of ``what`` for ``node``."""
        counts = self.counts.setdefault(node, {})
        counts[what] = counts.get(what, 0) + 1

    def register(self, node: str, name: str, value: Registered) -> None:
        """Keep a task's result under the name that the task gives it."""
        self.registered.setdefault(node, {})[name] = value

    def wanted(self, node: str, since: Slot) -> tuple[Fact[object], ...]:
        """The facts that the tasks from ``since`` on will look at on this node."""
        slots = self.needs.get(node, {})
        return tuple(dict.fromkeys(fact for slot in sorted(slots) if slot >= since for fact in slots[slot]))

    def ended(self, play: Play, task: Task, node: str, result: StepResult, status: Status | None = None) -> None:
        """Tell and keep the end of a task on a node."""
        shown = status or result.status
        ignored = shown == "warned" and result.error is not None
        self.context.emitter.emit(
            TaskEnded(
                node=node,
                task=task.name,
                status=shown,
                message=f"ignored: {result.message}" if ignored else result.message,
                hint=result.error.hint if result.error else "",
                evidence=result.error.evidence if result.error else "",
                seconds=result.seconds,
                changed=result.changed,
                diagnosis=asdict(result.error.diagnosis) if result.error and result.error.diagnosis else None,
            )
        )
        outcome = next(iter(result.outcomes), None)
        self.outcomes.append(
            TaskOutcome(play.name, task.name, task.module.name, node, shown, result.message, result.changed, outcome)
        )
        if node:
            self.count(node, shown)

    def found(self, result: StepResult, task: str, node: str) -> None:
        """Tell the findings of a result, and the checks that they stem from."""
        for finding in result.findings:
            self.context.emitter.emit(
                Found(
                    node=finding.node or node,
                    check=finding.check,
                    code=finding.code,
                    level=finding.level,
                    summary=finding.summary,
                    remedy=finding.remedy,
                    expected=finding.expected,
                    observed=finding.observed,
                    fix=finding.fix,
                    waived=finding.waived,
                )
            )
        checks = tuple(check for outcome in result.outcomes for check in outcome.checks)
        if checks:
            self.context.emitter.emit(Checked(task=task, outcomes=checks))

    def contribute(self, result: StepResult) -> None:
        """Take what modules have for the end of the run: ``summary`` lines and ``next`` commands."""
        for outcome in result.outcomes:
            self.facts.update(outcome.summary)
            self.next = list(dict.fromkeys([*self.next, *outcome.next]))


_RANKED = (130, 4, 5, 2, 3, 1, 6)
"""Exit codes, the one that matters most first: stop, unreachable, locked, usage, checks, failure, drift."""


def exit_code(errors: Iterable[ProvisionError]) -> int:
    """The exit code that stands for all these errors; 0 for none."""
    codes = {error.exit_code for error in errors}
    return next((code for code in _RANKED if code in codes), 1 if codes else 0)
