"""Run the checks: of each node, across nodes, trials on them, and of the servers that run.

A check that fails ends the run before anything was changed [domain.md section 14]. Which checks, at which level and
with which thresholds is the operator's judgement: the task's ``judge``, and stronger ``qnext.checks`` and
``qnext.waive``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import Field

from provision import registry
from provision.checks import runner
from provision.checks.base import CheckScope, CheckSpec
from provision.checks.policy import Choice, require_known
from provision.errors import UsageError
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.findings import CheckOutcome
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster
from provision.serve.render import TRIAL

SCOPE = "cluster"

_ORDER = ("pass", "waived", "warn", "fail", "unknown", "skipped")


class Args(ModuleArgs):
    """Which checks, and how they are judged."""

    stage: Literal["all", "preflight", "launched"] = Field(
        "all", description="preflight: nodes and fabric; launched: the running servers; all: both"
    )
    only: list[str] = Field(default_factory=list, description="only these checks, by name or code")
    skip: list[str] = Field(default_factory=list, description="not these checks, by name or code")
    deep: bool = Field(False, description="also the trials that take long or start a container")
    quick: bool = Field(False, description="without the thorough checks, which ask more than a glance")
    trials: Literal["always", "when_idle", "never"] = Field(
        "always", description="when_idle: try things on the nodes only while no server of the cluster runs"
    )
    judge: dict[str, object] = Field(
        default_factory=dict, description="by name or code: a level, or a mapping of level and thresholds"
    )


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return (*runner.required_facts(settings, _choice(args), _scopes(args)), Containers(settings.cluster))


def run(args: Args, cluster: Cluster) -> ClusterRun:
    choice = _choice(args)
    require_known(choice.only, "--only")
    require_known(choice.skip, "--skip")
    scopes, idle = _scopes(args), _idle(cluster)
    outcomes: list[CheckOutcome] = []
    if "node" in scopes:
        by_node = cluster.each(lambda node: runner.run_node(node, choice))
        outcomes += [outcome for many in by_node.values() for outcome in many]
        outcomes += runner.run_cluster(cluster, choice)
    if "trial" in scopes and (args.trials == "always" or idle):
        outcomes += yield from runner.run_trials(cluster, choice)
    if "launched" in scopes and not idle:
        outcomes += runner.run_launched(cluster, choice)
    outcomes = outcomes or list(_left_out(args, cluster.settings))
    findings = tuple(f for o in outcomes for f in o.findings)
    return Outcome(_message(outcomes), findings=findings, checks=tuple(outcomes))


def _choice(args: Args) -> Choice:
    return Choice(tuple(args.only), tuple(args.skip), args.deep, args.judge, args.quick)


def _scopes(args: Args) -> tuple[CheckScope, ...]:
    preflight: tuple[CheckScope, ...] = ("node", "cluster")
    if args.trials != "never":
        preflight = (*preflight, "trial")
    by_stage: dict[str, tuple[CheckScope, ...]] = {"preflight": preflight, "launched": ("launched",)}
    return by_stage.get(args.stage, (*preflight, "launched"))


def _idle(cluster: Cluster) -> bool:
    """Whether no server of the cluster runs on any node."""
    found = (node.get(Containers(node.settings.cluster)) for node in cluster.nodes)
    ours = (container for value in found for container in value.containers if container.running)
    return all(container.process.startswith(TRIAL) for container in ours)


def _left_out(args: Args, settings: Settings) -> Iterator[CheckOutcome]:
    """Where no check ran: those that were asked for, and why they didn't. Raises ``UsageError`` where none was."""
    choice = _choice(args)
    asked = [spec for spec in registry.checks() if choice.wants(spec) and (args.only or spec.scope in _scopes(args))]
    if not asked:
        raise UsageError("--only and --skip leave no check to run", hint=_NOT_HERE)
    for spec in asked:
        yield CheckOutcome(spec.name, spec.code, "skipped", reason=_why_not(spec, args, settings), rule=spec.rule)


_NOT_HERE = (
    "name a check that isn't skipped too; codes S01 to S20 and T4 to T7 are rules of the layout, which `lint` judges"
)


def _why_not(spec: CheckSpec, args: Args, settings: Settings) -> str:
    if not spec.applies(settings):
        return f"it does not apply to {settings.hardware} with the topology {settings.serve.topology}"
    if spec.scope == "launched" and args.stage != "preflight":
        return "no server of the cluster runs"
    if spec.scope == "trial" and args.stage != "launched":
        return "trials are left out (--trials)"
    return "`lint` judges the layout" if spec.scope == "static" else f"not of the stage {args.stage} (--stage)"


def _message(outcomes: Iterable[CheckOutcome]) -> str:
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    return ", ".join(f"{counts[s]} {s}" for s in _ORDER if s in counts)
