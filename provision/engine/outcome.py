"""What a task came to on one node, and the same as ``register`` keeps it for later expressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provision.errors import ChecksFailed, ProvisionError, Unknown, Unreachable
from provision.events import Status

if TYPE_CHECKING:
    from provision.findings import Finding
    from provision.modules.base import Outcome

_WORST: tuple[Status, ...] = ("skipped", "ok", "warned", "changed", "unknown", "failed", "unreachable")


@dataclass(frozen=True, slots=True)
class StepResult:
    """A task on one node: ``changed`` counts actions, ``error`` is there where it failed."""

    status: Status
    message: str = ""
    changed: int = 0
    seconds: float = 0.0
    outcome: Outcome | None = None
    error: ProvisionError | None = None
    items: tuple[StepResult, ...] = ()

    @property
    def failed(self) -> bool:
        return self.status in ("failed", "unreachable")

    @property
    def findings(self) -> tuple[Finding, ...]:
        own = self.outcome.findings if self.outcome else ()
        return (*own, *(finding for item in self.items for finding in item.findings))

    @property
    def outcomes(self) -> Iterator[Outcome]:
        """All outcomes, an item's each where it looped."""
        if self.outcome:
            yield self.outcome
        for item in self.items:
            yield from item.outcomes


def ended(outcome: Outcome | None, changed: int, seconds: float, node: str) -> StepResult:
    """A module's regular end. Findings of level fail make it a failure, of level warn a warning."""
    message = outcome.message if outcome else ""
    findings = outcome.findings if outcome else ()
    refused = [finding for finding in findings if finding.level == "fail"]
    if refused:
        error = refusal(refused, node)
        return StepResult("failed", error.message, changed, seconds, outcome, error)
    warned = any(finding.level == "warn" for finding in findings)
    quiet: Status = "skipped" if outcome and outcome.skipped else "ok"
    status: Status = "changed" if changed else "warned" if warned else quiet
    return StepResult(status, message, changed, seconds, outcome)


def refusal(findings: Sequence[Finding], node: str) -> ChecksFailed:
    """The error that findings of level fail are: one by its words, several by their codes."""
    if len(findings) == 1:
        return ChecksFailed(findings[0].summary, hint=findings[0].remedy, node=node or findings[0].node)
    codes = sorted({finding.code or finding.check or finding.summary for finding in findings})
    message = f"{len(findings)} findings: {', '.join(codes)}"
    return ChecksFailed(message, hint="each finding names its remedy", node=node)


def failed(error: ProvisionError, changed: int, seconds: float) -> StepResult:
    """A module's end by an error."""
    status: Status = "unreachable" if isinstance(error, Unreachable) else "failed"
    return StepResult(status, error.message, changed, seconds, error=error)


def gathered(items: Sequence[StepResult]) -> StepResult:
    """A loop's items as one result: the worst status, the first failure."""
    if not items:
        return StepResult("skipped", "nothing to loop over")
    worst = max(items, key=lambda item: _WORST.index(item.status))
    return StepResult(
        worst.status,
        worst.message,
        sum(item.changed for item in items),
        sum(item.seconds for item in items),
        error=worst.error,
        items=tuple(items),
    )


@dataclass(frozen=True, slots=True)
class Registered:
    """What ``register`` keeps: ``changed``, ``failed``, ``skipped``, ``unknown``, ``message`` and the outcome's data.

    What a plan cannot know raises ``Unknown`` when an expression asks for it.
    """

    _fields: Mapping[str, object] = field(default_factory=dict)
    _unknown: str = ""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> object:
        if name in self._fields:
            return self._fields[name]
        if self._unknown:
            raise Unknown(self._unknown)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self._fields or bool(self._unknown)


def registered(result: StepResult) -> Registered:
    """``result`` as later expressions see it."""
    data = dict(result.outcome.data) if result.outcome else {}
    known: dict[str, object] = {"skipped": result.status == "skipped", "unknown": result.status == "unknown"}
    known["message"] = result.message
    if result.changed or result.status != "unknown":
        known["changed"] = bool(result.changed)
    if result.status != "unknown":
        known["failed"] = result.failed
    if result.items:
        known["results"] = [registered(item) for item in result.items]
    return Registered({**data, **known}, result.message if result.status == "unknown" else "")
