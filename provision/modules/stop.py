"""Stop and remove this cluster's containers: the head first, then the headless ranks [domain.md section 11].

``only: differing`` stops nothing where every process runs as declared, and else all of them: ranks of a group cannot be
replaced one by one, since the others never recover from a lost peer [vllm issue 32136].
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from provision.actions import On, Run
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.ready import look
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.drift import differences
from provision.shell import quote

SCOPE = "cluster"
AFTER_LAST = 30.0
"""Seconds that docker may take over the grace to remove a container."""


class Args(ModuleArgs):
    """Which processes, and how patiently."""

    only: Literal["all", "differing"] = Field("all", description="differing: nothing where all run as declared")
    grace: int = Field(60, ge=0, description="seconds a server may take to end by itself before it is killed")
    restart: bool = Field(False, description="stop them even where they run as declared")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    if args.only == "all":
        return [Containers(settings.cluster)]
    return [*launch.facts(settings), *launch.compared(settings)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    containers = {node.name: node.get(Containers(node.settings.cluster)).containers for node in cluster.nodes}
    count = sum(len(c) for c in containers.values())
    if count == 0:
        return Outcome("no process of this cluster is there")
    reasons: tuple[str, ...] = ()
    if args.only == "differing" and not args.restart:
        reasons = differences(cluster) or _dead(cluster)
        if not reasons:
            return Outcome("every process runs as declared")
    cluster.each(_keep_logs)
    for wave in _waves(cluster, containers):
        yield On({name: _stop(names, args.grace) for name, names in wave.items()})
    return Outcome(f"{count} over all nodes stopped" + (f": {'; '.join(reasons)}" if reasons else ""))


def _dead(cluster: Cluster) -> tuple[str, ...]:
    """A server that says that its engine has died never recovers; one that doesn't answer yet may still be loading."""
    readiness = look(cluster, launch.observed(cluster).plan)
    return (f"the server is dead: {readiness.problem}",) if readiness.dead else ()


def _waves(cluster: Cluster, containers: dict[str, tuple[Container, ...]]) -> Iterable[dict[str, list[str]]]:
    """Container names by node: first what serves an API (rank 0), then the rest."""
    for first in (True, False):
        wave = {
            node.name: [c.name for c in containers[node.name] if (c.rank in (0, None)) == first]
            for node in cluster.nodes
        }
        if any(wave.values()):
            yield {name: names for name, names in wave.items() if names}


def _stop(names: list[str], grace: int) -> Run:
    words = " ".join(quote(name) for name in names)
    return Run(
        label=f"stop {', '.join(names)}",
        script=f"docker stop -t {grace} {words} || :\ndocker rm -f {words}\n",
        deadline=grace + AFTER_LAST,
        hint="docker ps -a on the node shows what is left",
        affects=frozenset({"containers", "ports", "npu-smi", "processes", "log-tails", "stale-secrets"}),
    )


def _keep_logs(node: Node) -> None:
    """Docker drops a container's log with the container: keep the end of it."""
    for name, text in launch.read_logs(node).items():
        node.keep(f"{name}.log", text)
