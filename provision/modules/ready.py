"""Wait until every server answers, watching every process on every node meanwhile.

A process that ends fails the launch within seconds with its exit status, its last lines and the first cause, or has its
group started again where ``serve.on_failure`` says so; a wait that runs out says what each process was doing. How far
each is, is read from its log and shown, with what is usual for it. A server's health alone is no proof: ``prove``
follows.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.inventory.model import Settings
from provision.modules import life, readiness
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.readiness import check_alive
from provision.modules.start import Part, names_of
from provision.node import Cluster
from provision.serve import launch
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process

__all__ = ["Args", "check_alive", "facts", "run"]

SCOPE = "cluster"
LOOK_EVERY = readiness.LOOK_EVERY


class Args(ModuleArgs):
    """Whom to wait for, and how patiently."""

    part: Part = Field("all", description="servers: every API but the router's; front: the entry point")
    timeout: float = Field(3000.0, gt=0, description="seconds until all must answer")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [*launch.facts(settings), Containers(settings.cluster)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    planned = launch.observed(cluster)
    wanted = _wanted(planned.plan, args.part)
    if not wanted:
        return Outcome("nothing stands before the servers", skipped=True)
    return (yield from life.guarded(cluster, lambda: _wait(args, cluster, planned, wanted)))


def _wanted(plan: LaunchPlan, part: Part) -> list[Process]:
    """The processes of a part that have an API."""
    return [p for p in map(plan.process, names_of(plan, part)) if p.api_port is not None and p.kind != "pool"]


def _wait(args: Args, cluster: Cluster, planned: Launch, wanted: list[Process]) -> ClusterRun:
    yield from ()
    plan = planned.plan
    alive = names_of(plan, "servers") if args.part == "servers" else [p.name for p in plan.processes]
    seconds = readiness.await_ready(cluster, planned, wanted, alive, args.timeout)
    after = f" after {seconds:.0f} s" if seconds > LOOK_EVERY else ""
    if len(wanted) == 1:
        entry = wanted[0].name == plan.head
        return Outcome(f"{plan.endpoint if entry else wanted[0].name} answers{after}")
    return Outcome(f"{len(wanted)} servers answer{after}")
