"""Run the preflight checks: of the layout, of each node, and across nodes.

A check that fails ends the run before anything was changed [domain.md section 14]. An operator sets a check's level in
``qnext.checks``.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks import runner
from provision.checks.runner import CheckOutcome
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster

SCOPE = "cluster"


class Args(ModuleArgs):
    """None: what is checked follows from the inventory."""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return runner.required_facts(settings)


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    by_node = cluster.each(runner.run_node)
    outcomes = [*(o for many in by_node.values() for o in many), *runner.run_cluster(cluster)]
    findings = tuple(f for o in outcomes for f in o.findings)
    return Outcome(_message(outcomes), data={"checks": tuple(outcomes)}, findings=findings)


def _message(outcomes: Iterable[CheckOutcome]) -> str:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    return ", ".join(f"{counts[s]} {s}" for s in ("pass", "warn", "fail", "unknown", "skipped") if s in counts)
