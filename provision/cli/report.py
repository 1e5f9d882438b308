"""A run's report as plain data, for ``--json``: stable names, documented in docs/events.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING

from provision.render.account import findings, mendable, tally, verdicts, worst
from provision.store.journal import as_plain

if TYPE_CHECKING:
    from provision.engine.run import RunReport
    from provision.errors import ProvisionError
    from provision.findings import CheckOutcome
    from provision.modules.base import Outcome
    from provision.transport.base import Counters


def as_data(
    report: RunReport, command: str, mode: str, directory: str, counters: Mapping[str, Counters]
) -> dict[str, object]:
    """What happened: exit code, tasks by node, findings, checks, errors, result lines, and what it cost in execs."""
    checks = [check for outcome in _outcomes(report) for check in outcome.checks]
    return {
        "command": command,
        "mode": mode,
        "exit_code": report.exit_code,
        "run_directory": directory,
        "tasks": [
            {
                "play": o.play,
                "task": o.task,
                "node": o.node,
                "status": o.status,
                "message": o.message,
                "changed": o.changed,
            }
            for o in report.outcomes
        ],
        "summary": _summary(checks),
        "checks": [plain(check) for check in checks],
        "unreachable": {node: _error(e) for node, e in report.unreachable.items()},
        "errors": {node or "cluster": _error(e) for node, e in report.errors.items()},
        "result": dict(report.facts),
        "next": list(report.next),
        "seconds": {play: round(s, 3) for play, s in report.phases.items()},
        "changed": sum(o.changed for o in report.outcomes),
        "execs": {node: {"execs": c.execs, "connections": c.connections} for node, c in counters.items()},
    }


def plain(value: object) -> object:
    """A value of the report as dicts and lists; exhibits say in ``kind`` which one they are."""
    if is_dataclass(value):
        return {name: plain(item) for name, item in as_plain(value).items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _summary(checks: Iterable[CheckOutcome]) -> dict[str, object]:
    """How the checks stand, each by its worst outcome over all nodes."""
    checks = list(checks)
    statuses = [verdict.status for verdict in verdicts(checks)]
    found = list(findings(checks))
    levels = [finding.level for finding in found if not finding.waived]
    return {
        "checks": len(statuses),
        "outcomes": len(checks),
        "by_status": tally(statuses),
        "worst": worst(statuses) if statuses else None,
        "findings": {level: levels.count(level) for level in ("fail", "warn", "info")},
        "waived": sum(bool(finding.waived) for finding in found),
        "mendable": sum(map(mendable, found)),
    }


def _outcomes(report: RunReport) -> Iterable[Outcome]:
    """Every outcome once: that of a cluster-scoped module is told for each node."""
    return {id(o.outcome): o.outcome for o in report.outcomes if o.outcome}.values()


def _error(error: ProvisionError) -> dict[str, object]:
    return {
        "kind": type(error).__name__,
        "message": str(error),
        "node": error.node,
        "hint": error.hint,
        "evidence": error.evidence,
        **({"diagnosis": asdict(error.diagnosis)} if error.diagnosis else {}),
    }
