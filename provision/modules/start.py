"""Start the processes wave by wave, each by its launch script; the next wave waits until this one has started.

A process that ends while its wave is awaited fails the launch at once, whichever node it is on, or has its group
started again where ``serve.on_failure`` says so. What stands before the servers starts apart, when they are ready.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.inventory.model import Settings
from provision.modules import life, starting
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Wave

SCOPE = "cluster"
LOOK_EVERY = starting.LOOK_EVERY

Part = Literal["all", "servers", "front"]
"""``front`` is what stands before the servers: the router."""


class Args(ModuleArgs):
    """Which processes, and how patiently."""

    part: Part = Field("all", description="servers: all but the router; front: the router, when the servers are ready")
    timeout: float = Field(300.0, gt=0, description="seconds until a wave must have started")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [*launch.facts(settings), Containers(settings.cluster)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    plan = launch.observed(cluster).plan
    waves = waves_of(plan, args.part)
    if not waves:
        return Outcome("nothing stands before the servers", skipped=True)
    return (yield from life.guarded(cluster, lambda: _start(cluster, plan, waves, args.timeout)))


def waves_of(plan: LaunchPlan, part: Part) -> list[Wave]:
    """The waves of a part of the plan."""
    return [wave for wave in plan.waves if part == "all" or wave.front == (part == "front")]


def names_of(plan: LaunchPlan, part: Part) -> list[str]:
    """Names of the processes of a part of the plan."""
    return [name for wave in waves_of(plan, part) for name in wave.processes]


def _start(cluster: Cluster, plan: LaunchPlan, waves: list[Wave], timeout: float) -> ClusterRun:
    names = {name for wave in waves for name in wave.processes}
    started = yield from starting.start(cluster, plan, waves, names, timeout)
    return Outcome(f"{started} started" if started else "all run already")
