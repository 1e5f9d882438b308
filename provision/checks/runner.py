"""Runs the checks: which apply, at which level, and what becomes of one that cannot judge.

An operator sets a check's level by its name or code (``qnext.checks``); a check that meets something unforeseen becomes
a warning, never a crash; a probe that hung is told once a node, with its deadline, by the first check that needed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from provision import clock, registry
from provision.checks.base import CheckScope, CheckSpec, Finding, Level
from provision.checks.support import CannotTell, Skip
from provision.errors import ConfigError, Interrupted, RemoteError, Unknown, Unreachable
from provision.facts.base import Fact
from provision.inventory.model import Host, Inventory, Settings
from provision.node import Cluster, Node
from provision.transport.base import same_probe

CheckStatus = Literal["pass", "warn", "fail", "skipped", "unknown"]

LAYOUT_CODES = tuple(f"S{number:02d}" for number in range(1, 21))
"""Codes of the layout's rules, which are findings of one check [domain 14.1]."""

_STRICTNESS: tuple[Level, ...] = ("off", "info", "warn", "fail")


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What became of a check, on a node (empty for what compares nodes). ``reason``: why it was skipped or can't tell.
    Seconds of wall time."""

    check: str
    code: str
    status: CheckStatus
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    node: str = ""
    reason: str = ""


def required_facts(settings: Settings) -> tuple[Fact[object], ...]:
    """All facts that the checks of a node with these settings look at, for one probe. Raises ``ConfigError`` for an
    unknown name in ``qnext.checks``."""
    levels = _levels(settings)
    wanted = [spec for spec in registry.checks() if spec.scope != "static" and _is_on(spec, settings, levels)]
    return tuple(same_probe(fact for spec in wanted for fact in spec.facts(settings)))


def run_static(inventory: Inventory) -> tuple[Finding, ...]:
    """What is known to be wrong before a node is touched, the worst first. Raises ``ConfigError`` as above."""
    for host in inventory.hosts:
        _refuse_unknown_names(host, inventory)
    levels = _levels(inventory.settings)
    findings = [_filled(finding, spec, levels, "") for spec in _specs("static") for finding in spec.run(inventory)]
    shown = [finding for finding in findings if finding.level != "off"]
    return tuple(sorted(shown, key=lambda finding: -_STRICTNESS.index(finding.level)))


def _refuse_unknown_names(host: Host, inventory: Inventory) -> None:
    for key in host.settings.checks:
        try:
            _word(key)
        except ConfigError as error:
            error.where = inventory.where(host.name, ("checks", key), key=True)
            raise


def run_node(node: Node) -> tuple[CheckOutcome, ...]:
    """All checks of one node, in the order of their codes. Raises ``Unreachable`` where the connection breaks."""
    return _run_all("node", node, node.settings, node.name)


def run_cluster(cluster: Cluster) -> tuple[CheckOutcome, ...]:
    """All checks that compare nodes, in the order of their codes."""
    return _run_all("cluster", cluster, cluster.settings, "")


def _run_all(scope: CheckScope, subject: object, settings: Settings, node: str) -> tuple[CheckOutcome, ...]:
    levels = _levels(settings)
    told: set[str] = set()
    return tuple(
        _run(spec, subject, levels, node, told)
        if _level(spec.name, spec.code, spec.level, levels) != "off"
        else CheckOutcome(spec.name, spec.code, "skipped", node=node, reason="switched off in qnext.checks")
        for spec in _specs(scope)
        if spec.applies(settings)
    )


def _run(spec: CheckSpec, subject: object, levels: Mapping[str, Level], node: str, told: set[str]) -> CheckOutcome:
    started = clock.monotonic()
    found, status, reason = _findings(spec, subject, told)
    filled = tuple(f for f in (_filled(f, spec, levels, node) for f in found) if f.level != "off")
    seconds = round(clock.monotonic() - started, 4)
    return CheckOutcome(spec.name, spec.code, _status(status, filled), filled, seconds, node, reason)


def _findings(spec: CheckSpec, subject: object, told: set[str]) -> tuple[list[Finding], str, str]:
    """What a check found; and, where it could not judge, "skipped" or "unknown" with the reason."""
    findings: list[Finding] = []
    try:
        findings.extend(spec.run(subject))
    except Skip as skipped:
        return findings, "skipped", str(skipped)
    except Unknown as unknown:
        return findings, "unknown", str(unknown)
    except CannotTell as hung:
        return [*findings, *_once(_hung(hung), told)], "unknown", str(hung)
    except (Unreachable, Interrupted):
        raise
    except RemoteError as error:
        return [*findings, *_once(_refused(error), told)], "unknown", error.message
    except Exception as error:  # whatever a node answers, the other checks go on
        reason = f"{type(error).__name__}: {error}"
        return [*findings, *_once(_unforeseen(spec, reason), told)], "unknown", reason
    return findings, "", ""


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
    levels = {finding.level for finding in findings}
    if "fail" in levels:
        return "fail"
    if status == "skipped":
        return "skipped"
    if status == "unknown":
        return "unknown"
    return "warn" if "warn" in levels else "pass"


def _filled(finding: Finding, spec: CheckSpec, levels: Mapping[str, Level], node: str) -> Finding:
    code = finding.code or spec.code
    allowed = _level(spec.name, code, spec.level, levels)
    level = min(allowed, finding.level, key=_STRICTNESS.index)
    return replace(finding, check=spec.name, code=code, node=finding.node or node, level=level)


def _level(name: str, code: str, default: Level, levels: Mapping[str, Level]) -> Level:
    return levels.get(code.lower(), levels.get(name, default))


def _is_on(spec: CheckSpec, settings: Settings, levels: Mapping[str, Level]) -> bool:
    return spec.applies(settings) and _level(spec.name, spec.code, spec.level, levels) != "off"


def _specs(scope: CheckScope) -> list[CheckSpec]:
    return [spec for spec in registry.checks() if spec.scope == scope]


def _levels(settings: Settings) -> dict[str, Level]:
    """The operator's levels by name and by code in lower case."""
    return {_word(key): level for key, level in settings.checks.items()}


def _word(key: str) -> str:
    """A key of ``qnext.checks`` as ``_level`` looks for it. Raises ``ConfigError`` for an unknown one."""
    word = key.replace("-", "_").lower()
    names = {spec.name for spec in registry.checks()}
    codes = {spec.code.lower() for spec in registry.checks()} | {code.lower() for code in LAYOUT_CODES}
    if word not in names | codes:
        hint = registry.did_you_mean(word, names | codes)
        raise ConfigError(f"qnext.checks: no check is named {key!r}", hint=hint)
    return word
