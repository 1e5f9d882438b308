"""Stop and remove this cluster's containers: routers, then what has an API, then headless ranks [domain.md section 11].

``only: differing`` stops the groups of which a process differs from its declaration or is dead: ranks of a group cannot
be replaced one by one, since the others never recover from a lost peer [vllm issue 32136]. Groups that know nothing of
each other serve on. ``groups`` names those that are stopped as they are, and with them those that are dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field

from provision.errors import UsageError
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.inventory.model import Settings
from provision.modules import life, readiness, stopping
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster
from provision.registry import did_you_mean
from provision.serve import drift, launch
from provision.serve.plan import LaunchPlan

SCOPE = "cluster"
SHOWN = 6
"""Reasons that the outcome names."""


class Args(ModuleArgs):
    """Which processes, and how patiently."""

    only: Literal["all", "differing"] = Field("all", description="differing: groups that do not all run as declared")
    groups: list[str] = Field([], description="these groups, however they run, and those that are dead")
    grace: int = Field(stopping.GRACE, ge=0, description="seconds a server may take to end before it is killed")
    restart: bool = Field(False, description="stop them even where they run as declared")

    @property
    def everything(self) -> bool:
        """Whether all containers go, whatever the plan says."""
        return (self.only == "all" or self.restart) and not self.groups


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    if args.everything:
        return [Containers(settings.cluster)]
    return [*launch.facts(settings), *launch.compared(settings)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    reasons: Mapping[str, str] = {}
    told: list[str] = []
    if not args.everything:
        plan = launch.observed(cluster).plan
        reasons = _named(plan, args.groups) | (_dead(cluster, plan) if args.groups else _differing(cluster, plan))
        if not reasons:
            return Outcome("every process runs as declared")
        told = _of_stopped(cluster, plan, reasons)
    count = yield from stopping.stop(cluster, lambda c: args.everything or _goes(c, reasons), args.grace)
    if not count:
        return Outcome("no process of this cluster is there")
    return Outcome(f"{count} over all nodes stopped" + (f": {_some(told)}" if told else ""))


def _goes(container: Container, reasons: Mapping[str, str]) -> bool:
    return container.process in reasons


def _of_stopped(cluster: Cluster, plan: LaunchPlan, reasons: Mapping[str, str]) -> list[str]:
    """Why those go that are there: their own reasons, and those of the processes that they cannot go on without."""
    there = {c.process for node in cluster.nodes for c in stopping.containers(node) if _goes(c, reasons)}
    together = {name for unit in plan.units if there & set(unit) for name in unit}
    return list(dict.fromkeys(reason for name, reason in reasons.items() if reason and name in there | together))


def _some(reasons: list[str]) -> str:
    more = len(reasons) - SHOWN
    return "; ".join(reasons[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


# ---- who goes, and why: the reason by process name, empty for one that goes with another


def _named(plan: LaunchPlan, groups: list[str]) -> dict[str, str]:
    """Raises ``UsageError`` for a group that there isn't."""
    known = life.names_of_groups(plan)
    for name in groups:
        if name not in known and all(name != process.name for process in plan.processes):
            near = did_you_mean(name, known)
            hint = near if near.startswith("known") else f"{near} Groups are: {', '.join(known)}"
            raise UsageError(f"cluster {plan.cluster} has no group {name!r}", hint=hint)
    return {name: "" for unit in life.units_named(plan, groups) for name in unit}


def _differing(cluster: Cluster, plan: LaunchPlan) -> dict[str, str]:
    """All that differ or are dead, with those that cannot go on without them."""
    found = drift.by_process(cluster)
    return _together(plan, {name: "; ".join(reasons) for name, reasons in found.items()} | _say_dead(cluster, plan))


def _dead(cluster: Cluster, plan: LaunchPlan) -> dict[str, str]:
    """All that do not run or whose engine is dead, with those that cannot go on without them."""
    ended: dict[str, str] = {}
    for node in cluster.nodes:
        value = node.get(Containers(node.settings.cluster)).answered(node.name)
        for process in plan.processes:
            if process.node == node.name and not ((found := value.process(process.name)) and found.running):
                ended[process.name] = f"{process.name} on {node.name} {'has ended' if found else 'is missing'}"
    return _together(plan, ended | _say_dead(cluster, plan))


def _say_dead(cluster: Cluster, plan: LaunchPlan) -> dict[str, str]:
    """Servers that say that their engine has died: they never recover. One that doesn't answer may still be loading."""
    there = {c.process for node in cluster.nodes for c in stopping.containers(node) if c.running}
    said = readiness.look(cluster, [server for server in plan.servers if server.name in there])
    return {name: f"{name} is dead: {answer.problem}" for name, answer in said.items() if answer.dead}


def _together(plan: LaunchPlan, reasons: Mapping[str, str]) -> dict[str, str]:
    """The processes with a reason, and all that live and die with one of them."""
    units = [unit for unit in plan.units if set(unit) & set(reasons)]
    return {name: "" for unit in units for name in unit} | dict(reasons)
