"""What checks of the servers, running or to be launched, look at: the plan, and each API through its own node.

One cause gives one finding: where a process has ended, ``processes_alive`` says so, and where it doesn't answer,
``api_health``; what needs an answer skips. Several servers are asked at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal, TypeVar

from provision.checks.base import Shown
from provision.checks.support import Skip, containers, listed
from provision.errors import Interrupted, ProvisionError, RemoteError, Unreachable
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.http import Http, Response
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process

R = TypeVar("R")

VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
"""Which of its container's devices a server takes, by their places."""


def facts(settings: Settings) -> Iterable[Fact[object]]:
    """What the functions below look at."""
    return (*launch.facts(settings), Containers(settings.cluster))


def planned(cluster: Cluster) -> Launch:
    """The launch on these nodes. Raises ``Skip`` where there can be none, which the check ``layout`` says, and where
    only some of the cluster's hosts are in sight, since ranks and addresses are those of all of them (unless each
    node's servers stand alone)."""
    gaps = [node.index for node in cluster.nodes] != list(range(len(cluster.nodes)))
    if (gaps or launch.is_part(cluster)) and not (cluster.hosts and launch.stands_alone(cluster.settings)):
        raise Skip("only some of the cluster's hosts are looked at")
    try:
        return launch.observed(cluster)
    except (RemoteError, Unreachable, Interrupted):
        raise
    except ProvisionError as error:
        raise Skip(f"there is no launch plan: {error.message}") from error


@dataclass(frozen=True, slots=True)
class Api:
    """A process that answers requests: a server, or the router before several. ``token``: the key that it wants, or
    empty."""

    node: Node
    process: Process
    http: Http
    plan: LaunchPlan
    token: str

    @property
    def name(self) -> str:
        """What a finding calls it: the URL of the entry point, else the process and its node."""
        return self.plan.endpoint if self.process.name == self.plan.head else f"{self.process.name} on {self.node.name}"

    def answer(self, path: str) -> Response:
        """What it says to GET. Raises ``Skip`` where it says nothing and isn't healthy either."""
        answer = self.http.get(path, token=self.token)
        if not answer.ok and not self.http.get(self.process.health).ok:
            raise Skip("the server is not healthy: the check api_health says so")
        return answer


def entry(cluster: Cluster) -> Api:
    """The entry point. Raises ``Skip`` where its process does not run."""
    made = planned(cluster)
    api = _api(cluster, made, made.plan.entry)
    if api is None:
        raise Skip(f"{made.plan.head} does not run: the check processes_alive says so")
    return api


def servers(cluster: Cluster) -> list[Api]:
    """The servers with an API that run. Raises ``Skip`` where none does."""
    made = planned(cluster)
    found = [api for server in made.plan.servers if (api := _api(cluster, made, server))]
    if not found:
        names = listed([server.name for server in made.plan.servers])
        raise Skip(f"{names} does not run: the check processes_alive says so")
    return found


def _api(cluster: Cluster, made: Launch, process: Process) -> Api | None:
    container = container_of(cluster, process)
    if container is None or not container.running:
        return None
    node = node_of(cluster, process)
    return Api(node, process, node.http(process.api_port or node.settings.serve.port), made.plan, made.token)


def at_once(apis: Sequence[Api], do: Callable[[Api], R]) -> list[R]:
    """Do it for all of them at the same time; in their order."""
    with ThreadPoolExecutor(min(len(apis), 32)) as pool:
        return list(pool.map(do, apis))


def per_server(cluster: Cluster, check: Callable[[Api], Iterable[Shown]]) -> Iterator[Shown]:
    """A check of each running server. One that can't be judged doesn't keep back the rest; raises ``Skip`` where none
    can."""

    def judged(api: Api) -> list[Shown] | Skip:
        try:
            return list(check(api))
        except Skip as skip:
            return skip

    found = at_once(servers(cluster), judged)
    for shown in found:
        if not isinstance(shown, Skip):
            yield from shown
    skips = [skip for skip in found if isinstance(skip, Skip)]
    if len(skips) == len(found):
        raise skips[0]


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


# ---- what nodes have in common


def of_node(plan: LaunchPlan, node: Node) -> Process | None:
    """What the servers of a node are together: the first of them, with the devices of all. None where it has none."""
    own = [process for process in plan.processes if process.node == node.name and process.kind == "server"]
    if len(own) < 2:
        return own[0] if own else None
    devices = sorted({device for process in own for device in process.devices})
    env = {name: value for name, value in own[0].env.items() if name != VISIBLE}
    return replace(own[0], devices=tuple(devices), env=env)


def worlds(plan: LaunchPlan) -> list[set[str]]:
    """Sets of nodes whose servers work together, by name; one of a node where nothing leaves it."""
    found: list[set[str]] = []
    for group in plan.groups:
        nodes = {plan.process(name).node for name in group.processes}
        meeting = [world for world in found if world & nodes]
        found = [*(world for world in found if not world & nodes), nodes.union(*meeting)]
    order = {process.node: process.node_index for process in plan.processes}
    return sorted(found, key=lambda world: min(order[node] for node in world))


Talk = Literal["any", "api"]
"""On which ports one node connects to another: on whatever the ranks agree on, or on those of the plan alone."""


def talks(plan: LaunchPlan) -> dict[tuple[str, str], Talk]:
    """Which nodes connect to which. The ranks of a group meet on any port, and so do groups that hand each other KV
    caches, with their pool; a router only asks the APIs of its servers."""
    meeting = [{plan.process(name).node for name in group.processes} for group in plan.groups]
    if any(group.role for group in plan.groups) or any(process.kind == "pool" for process in plan.processes):
        meeting = [{process.node for process in plan.processes}]
    pairs: dict[tuple[str, str], Talk] = {
        (plan.entry.node, server.node): "api" for server in plan.servers if plan.entry.kind == "router"
    }
    pairs |= {pair: "any" for nodes in meeting for pair in permutations(sorted(nodes), 2)}
    return {pair: how for pair, how in pairs.items() if pair[0] != pair[1]}


def talking(cluster: Cluster) -> dict[tuple[str, str], Talk]:
    """The same for these nodes: every one with every other where there is no plan, of which the check layout tells."""
    try:
        return talks(planned(cluster).plan)
    except Skip:
        return dict.fromkeys(permutations([node.name for node in cluster.nodes], 2), "any")
