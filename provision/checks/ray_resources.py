"""Ray counts all nodes of the cluster, and all NPUs of their containers by that name.

Ray finds the devices of a container by itself. Where it registers them as GPU or not at all, or a node has left,
vLLM waits for devices that never come: ``Current node has no NPU available`` [domain 6.5, 14.3 X11; vllm-ascend
issues 3114, 8306]. The head's launch script waits for the same before it serves; this looks at the cluster that runs.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.accel.ascend.ray import RayStatus
from provision.checks import serving
from provision.checks.base import Finding, Shown
from provision.checks.support import Skip
from provision.facts.base import Fact
from provision.facts.ray import RayCluster
from provision.inventory.model import Settings
from provision.node import Cluster
from provision.serve.plan import LaunchPlan, Process

CODE = "X11"
LEVEL = "fail"
SCOPE = "launched"

_AGAIN = "`qnext-provision logs` of the worker that is missing, then `qnext-provision down` and `up`"


def applies(settings: Settings) -> bool:
    return settings.serve.topology == "ray"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (*serving.facts(settings), RayCluster(settings.cluster))


def run(cluster: Cluster) -> Iterable[Shown]:
    plan = serving.planned(cluster).plan
    head = serving.node_of(cluster, plan.entry)
    value = head.get(RayCluster(head.settings.cluster))
    if value.status is None:
        raise Skip(f"{plan.head} does not run: the check processes_alive says so")
    for problem in value.status.problems:
        yield _finding(head.name, f"ray status says: {problem}", _AGAIN, "the state of the cluster", problem)
        return
    yield from _judged(plan, head.name, value.status)


def _judged(plan: LaunchPlan, head: str, status: RayStatus) -> Iterable[Shown]:
    wanted = len({process.node for process in plan.processes})
    if status.nodes != wanted:
        failures = f": {'; '.join(status.failures)}" if status.failures else ""
        told = f"Ray has {status.nodes} of {wanted} nodes{failures}"
        yield _finding(head, told, _AGAIN, f"{wanted} nodes", str(status.nodes))
        return
    devices = sum(_seen(process) for process in plan.processes)
    found, strange = status.total("NPU"), status.total("GPU")
    if found >= devices:
        return
    told = f"Ray has {found:.0f} of {devices} NPU" + (f", and {strange:.0f} GPU" if strange else "")
    remedy = (
        f"set RAY_OVERRIDE_RESOURCES: '{{\"NPU\": {devices // wanted}}}' in qnext.serve.env, then "
        "`qnext-provision up`: Ray took the NPUs for something else, or the container does not see them"
    )
    yield _finding(head, told, remedy, f"{devices} NPU", f"{found:.0f} NPU, {strange:.0f} GPU")


def _seen(process: Process) -> int:
    """How many devices Ray can see in a process's container."""
    chosen = process.env.get(serving.VISIBLE)
    return len(chosen.split(",")) if chosen else len(process.devices)


def _finding(node: str, summary: str, remedy: str, expected: str, observed: str) -> Finding:
    return Finding(summary, remedy, node=node, expected=expected, observed=observed)
