"""Every process of the cluster runs, on the node and with the container that it was launched as.

Headless ranks answer no request, so their life is told by their container alone; a group that has lost one never
recovers by itself. Servers that know nothing of each other are restarted one by one [domain 8.1, 12 row 45, 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks import serving
from provision.checks.base import Finding, Shown
from provision.diagnose.catalogue import exit_status
from provision.facts.base import Fact
from provision.facts.docker import Container
from provision.inventory.model import Settings
from provision.node import Cluster
from provision.serve.plan import LaunchPlan, Process

CODE = "P02"
LEVEL = "fail"
SCOPE = "launched"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return serving.facts(settings)


def run(cluster: Cluster) -> Iterable[Shown]:
    plan = serving.planned(cluster).plan
    for process in serving.dead(cluster, plan):
        yield _dead(plan, process, serving.container_of(cluster, process))


def _dead(plan: LaunchPlan, process: Process, container: Container | None) -> Finding:
    again = _again(plan, process)
    if container is None:
        return Finding(
            f"{process.name} has no container, while others of the cluster run",
            again,
            node=process.node,
            expected="a running container",
            observed="none",
        )
    known = exit_status(container.exit_code) if container.exit_code is not None else None
    killed = ", killed for lack of memory" if container.oom_killed else ""
    return Finding(
        f"{process.name} is {container.state} with exit status {container.exit_code}{killed}"
        + (f" ({known.title})" if known and not killed else "")
        + (f", since {container.finished[:19]}" if container.finished else ""),
        f"see `docker logs --tail 200 {container.name}` on the node for the first cause, then {again}",
        node=process.node,
        expected="running",
        observed=f"{container.state} {container.exit_code}",
    )


def _again(plan: LaunchPlan, process: Process) -> str:
    """How it is started again: with all that can't go on without it."""
    if len(plan.units) > 1 and (process.name,) in plan.units:
        return "`qnext-provision up` starts it again, and leaves the others as they are"
    return "`qnext-provision down`, then `qnext-provision up`: the group starts as one"
