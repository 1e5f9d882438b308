"""Runs the checks: which apply, at which level, and what becomes of one that cannot judge.

A check that meets something unforeseen becomes a warning, never a crash; a probe that hung is told once a node, with
its deadline, by the first check that needed it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from provision import clock, registry
from provision.actions import On
from provision.checks.base import CheckScope, CheckSpec, Finding, Shown
from provision.checks.policy import STRICTNESS, Choice, Policy, known_word, policy
from provision.checks.support import CannotTell, Skip
from provision.errors import ConfigError, Interrupted, RemoteError, Unknown, Unreachable
from provision.facts.base import Fact
from provision.findings import CheckOutcome, CheckStatus, Exhibit
from provision.inventory.model import Host, Inventory, Settings
from provision.node import Cluster, Node
from provision.results import ActionResult
from provision.transport.base import same_probe

R = TypeVar("R")

_ALL = Choice()


def required_facts(
    settings: Settings, choice: Choice = _ALL, scopes: Sequence[CheckScope] = ("node", "cluster", "trial", "launched")
) -> tuple[Fact[object], ...]:
    """All facts that the chosen checks of a node with these settings look at, for one probe. Raises ``ConfigError`` for
    an unknown name in ``qnext.checks``."""
    own = policy(settings, choice.judge)
    specs = [spec for scope in scopes for spec in _specs(scope, choice) if spec.applies(settings) and own.is_on(spec)]
    return tuple(same_probe(fact for spec in specs for fact in spec.facts(settings)))


def run_static(inventory: Inventory, choice: Choice = _ALL) -> tuple[Finding, ...]:
    """What is known to be wrong before a node is touched, the worst first. Raises ``ConfigError`` as above."""
    findings = [finding for outcome in static_outcomes(inventory, choice) for finding in outcome.findings]
    return tuple(sorted(findings, key=lambda finding: -STRICTNESS.index(finding.level)))


def static_outcomes(inventory: Inventory, choice: Choice = _ALL) -> tuple[CheckOutcome, ...]:
    """The static checks' outcomes, in the order of their codes. Raises ``ConfigError`` as above."""
    for host in inventory.hosts:
        _refuse_unknown_names(host, inventory)
    own = policy(inventory.settings, choice.judge)
    outcomes = []
    for spec in _specs("static", choice):
        found = _Found(list(spec.run(own.args(spec), inventory)))
        outcomes.append(_outcome(spec, own, "", found, clock.monotonic()))
    return tuple(outcomes)


def _refuse_unknown_names(host: Host, inventory: Inventory) -> None:
    for section, keys in (("checks", host.settings.checks), ("waive", host.settings.waive)):
        for key in keys:
            known_word(key, f"qnext.{section}", where=inventory.where(host.name, (section, key), key=True))
    try:
        policy(host.settings)
    except ConfigError as error:
        error.where = error.where or inventory.where(host.name, ("checks",), key=True)
        raise


def run_node(node: Node, choice: Choice = _ALL) -> tuple[CheckOutcome, ...]:
    """All checks of one node, in the order of their codes. Raises ``Unreachable`` where the connection breaks."""
    return _run_all("node", node, node.settings, node.name, choice)


def run_cluster(cluster: Cluster, choice: Choice = _ALL) -> tuple[CheckOutcome, ...]:
    """All checks that compare nodes, in the order of their codes."""
    return _run_all("cluster", cluster, cluster.settings, "", choice, _by_node(cluster, choice))


def run_launched(cluster: Cluster, choice: Choice = _ALL) -> tuple[CheckOutcome, ...]:
    """All checks of the running servers, in the order of their codes."""
    return _run_all("launched", cluster, cluster.settings, "", choice, _by_node(cluster, choice))


def run_trials(
    cluster: Cluster, choice: Choice = _ALL
) -> Generator[On, Mapping[str, ActionResult], tuple[CheckOutcome, ...]]:
    """All trials, one after the other: yields what they do on the nodes."""
    own, settings = policy(cluster.settings, choice.judge), cluster.settings
    judges = _by_node(cluster, choice)
    outcomes: list[CheckOutcome] = []
    for spec in _specs("trial", choice):
        if not spec.applies(settings):
            continue
        if not own.is_on(spec):
            outcomes.append(_switched_off(spec, ""))
            continue
        started, found = clock.monotonic(), _Found()
        with found.guarded(spec, set()):
            found.shown.extend((yield from spec.run(own.args(spec), cluster)))
        outcomes.append(_outcome(spec, own, "", found, started, judges))
    return tuple(outcomes)


Judges = Mapping[str, Policy]
"""The judgement of each node, by its name: for findings about it, whichever check they are of."""


def _by_node(cluster: Cluster, choice: Choice) -> Judges:
    return {node.name: policy(node.settings, choice.judge) for node in cluster.nodes}


def _run_all(
    scope: CheckScope, subject: object, settings: Settings, node: str, choice: Choice, judges: Judges | None = None
) -> tuple[CheckOutcome, ...]:
    own, told = policy(settings, choice.judge), set[str]()
    return tuple(
        _run(spec, subject, own, node, told, judges or {}) if own.is_on(spec) else _switched_off(spec, node)
        for spec in _specs(scope, choice)
        if spec.applies(settings)
    )


def _switched_off(spec: CheckSpec, node: str) -> CheckOutcome:
    reason = "switched off in qnext.checks"
    return CheckOutcome(spec.name, spec.code, "skipped", node=node, reason=reason, rule=spec.rule)


def _run(spec: CheckSpec, subject: object, own: Policy, node: str, told: set[str], judges: Judges) -> CheckOutcome:
    started, found = clock.monotonic(), _Found()
    with found.guarded(spec, told):
        for shown in spec.run(own.args(spec), subject):
            found.shown.append(shown)  # at once: what it found before it broke off counts
    return _outcome(spec, own, node, found, started, judges)


@dataclass(slots=True)
class _Found:
    """What a check has shown; and, where it could not judge, "skipped" or "unknown" with the reason."""

    shown: list[Shown] = field(default_factory=list)
    status: str = ""
    reason: str = ""

    def guarded(self, spec: CheckSpec, told: set[str]) -> _Guard:
        return _Guard(self, spec, told)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Turns what a check raises into its outcome; lets through what ends the run."""

    found: _Found
    spec: CheckSpec
    told: set[str]

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is None or not isinstance(error, Exception) or isinstance(error, Unreachable | Interrupted):
            return False
        self._settle(error)
        return True

    def _settle(self, error: Exception) -> None:
        found = self.found
        found.status, found.reason = "unknown", str(error)
        match error:
            case Skip():
                found.status = "skipped"
            case Unknown():
                pass
            case CannotTell():
                found.shown += _once(_hung(error), self.told)
            case RemoteError():
                found.reason = error.message
                found.shown += _once(_refused(error), self.told)
            case _:
                found.reason = f"{type(error).__name__}: {error}"
                found.shown += _once(_unforeseen(self.spec, found.reason), self.told)


def _outcome(
    spec: CheckSpec, own: Policy, node: str, found: _Found, started: float, judges: Judges | None = None
) -> CheckOutcome:
    given = (shown for shown in found.shown if isinstance(shown, Finding))
    judged = ((judges or {}).get(shown.node, own).judged(shown, spec, node) for shown in given)
    findings = tuple(finding for finding in judged if finding.level != "off")
    exhibits: tuple[Exhibit, ...] = tuple(shown for shown in found.shown if not isinstance(shown, Finding))
    status, seconds = _status(found.status, findings), round(clock.monotonic() - started, 4)
    return CheckOutcome(spec.name, spec.code, status, findings, seconds, node, found.reason, spec.rule, exhibits)


def _once(finding: Finding, told: set[str]) -> list[Finding]:
    """The finding, unless an earlier check has told the same."""
    key = f"{finding.node} {finding.observed}"
    if key in told:
        return []
    told.add(key)
    return [finding]


def _hung(hung: CannotTell) -> Finding:
    probe = str(hung).partition(":")[0]
    return Finding(
        f"the probe {hung}",
        f"look at the node by hand: what `{probe}` asks for hangs there (a stale network mount, a driver or a daemon "
        "that does not answer)",
        node=hung.node,
        expected="an answer in time",
        observed=str(hung),
    )


def _refused(error: RemoteError) -> Finding:
    return Finding(
        f"the node could not be looked at: {error.message}",
        error.hint or "the run directory holds what the node answered",
        node=error.node,
        observed=error.message,
    )


def _unforeseen(spec: CheckSpec, reason: str) -> Finding:
    return Finding(
        f"could not be checked: {reason}",
        f"the run directory holds what the node answered; to go on without this check: qnext.checks.{spec.name}: off",
        observed=reason,
        level="warn",
    )


def _status(status: str, findings: Iterable[Finding]) -> CheckStatus:
    """The worst finding decides; one that can't tell stays unknown unless what it found fails."""
    findings = list(findings)
    levels = {finding.level for finding in findings}
    if "fail" in levels:
        return "fail"
    if status in ("skipped", "unknown"):
        return "skipped" if status == "skipped" else "unknown"
    if "warn" in levels:
        return "warn"
    return "waived" if any(finding.waived for finding in findings) else "pass"


def _specs(scope: CheckScope, choice: Choice) -> list[CheckSpec]:
    wanted = _wanted(choice)
    return [spec for spec in registry.checks() if spec.scope == scope and wanted(spec)]


def _wanted(choice: Choice) -> Callable[[CheckSpec], bool]:
    return choice.wants if choice != _ALL else lambda spec: not spec.deep
