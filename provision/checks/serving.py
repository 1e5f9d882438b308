"""What checks of the servers, running or to be launched, look at: the plan, and the head's API through its own node.

One cause gives one finding: where the head's process has ended, ``processes_alive`` says so, and where it doesn't
answer, ``api_health``; what needs an answer skips.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from provision.checks.support import Skip, containers
from provision.errors import Interrupted, ProvisionError, RemoteError, Unreachable
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.http import Http, Response
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process


def facts(settings: Settings) -> Iterable[Fact[object]]:
    """What the functions below look at."""
    return (*launch.facts(settings), Containers(settings.cluster))


def planned(cluster: Cluster) -> Launch:
    """The launch on these nodes. Raises ``Skip`` where there can be none, which the check ``layout`` says, and where
    only some of the cluster's hosts are in sight, since ranks and addresses are those of all of them."""
    if [node.index for node in cluster.nodes] != list(range(len(cluster.nodes))):
        raise Skip("only some of the cluster's hosts are looked at")
    try:
        return launch.observed(cluster)
    except (RemoteError, Unreachable, Interrupted):
        raise
    except ProvisionError as error:
        raise Skip(f"there is no launch plan: {error.message}") from error


@dataclass(frozen=True, slots=True)
class Head:
    """The head's server. ``token``: the key that it wants, or empty."""

    node: Node
    process: Process
    http: Http
    plan: LaunchPlan
    token: str

    def answer(self, path: str) -> Response:
        """What it says to GET. Raises ``Skip`` where it says nothing and isn't healthy either."""
        answer = self.http.get(path, token=self.token)
        if not answer.ok and not self.http.get("/health").ok:
            raise Skip("the server is not healthy: the check api_health says so")
        return answer


def head(cluster: Cluster) -> Head:
    """The head's server. Raises ``Skip`` where its process does not run."""
    made = planned(cluster)
    process = made.plan.process(made.plan.head)
    node = node_of(cluster, process)
    container = container_of(cluster, process)
    if container is None or not container.running:
        raise Skip(f"{process.name} does not run: the check processes_alive says so")
    port = process.api_port or cluster.settings.serve.port
    return Head(node, process, node.http(port), made.plan, made.token)


def node_of(cluster: Cluster, process: Process) -> Node:
    """The node of a process of the plan."""
    return next(node for node in cluster.nodes if node.name == process.node)


def container_of(cluster: Cluster, process: Process) -> Container | None:
    """Its container, in whatever state; None where there is none."""
    return containers(node_of(cluster, process)).process(process.name)


def dead(cluster: Cluster, plan: LaunchPlan) -> list[Process]:
    """The processes of the plan that do not run."""
    found = [(process, container_of(cluster, process)) for process in plan.processes]
    return [process for process, container in found if container is None or not container.running]
