"""What is there now: every declared process and every container of ours, as observed, with its age and its drift.

Servers that work as one are a group: where one of them has ended, none of it serves, whatever the others say. So the
groups tell what still serves, and the processes what each of them does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from provision.errors import ProvisionError
from provision.evaluate.prove import probe_ready
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.facts.router import RouterChoice
from provision.facts.system import Clock
from provision.inventory.model import Inventory, Settings
from provision.node import Cluster, Node
from provision.serve import drift, launch, router
from provision.serve.launch import Launch
from provision.serve.plan import Group, Process

_BLAMED = 3
"""Processes that a sentence names."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process on one node.

    ``state``: docker's word, missing, or unknown where the node can't be reached. ``health``: generating is not asked
    here; "answers" is what /health says of an API process, "-" where none is served. ``age`` in seconds since its
    start. ``drift``: how it differs from the inventory. ``kind``: server, router or pool; empty for what is not
    declared. ``rank``: its node rank, or the first data-parallel rank that it hosts. ``api``: its port. ``router``:
    which router it is, where it is one and that is known.
    """

    node: str
    process: str
    state: str
    health: str = "-"
    age: float | None = None
    devices: tuple[int, ...] = ()
    image: str = ""
    image_id: str = ""
    exit_code: int | None = None
    drift: tuple[str, ...] = ()
    kind: str = ""
    group: str = ""
    role: str = ""
    rank: int | None = None
    api: int | None = None
    router: str = ""

    @property
    def serves(self) -> bool:
        """Whether it runs, and answers where it has an API."""
        return self.state == "running" and self.health in ("-", "answers")

    @property
    def failed(self) -> str:
        """What it is seen to do instead of serving; empty where it serves, or is out of sight."""
        if self.serves or self.state == "unknown":
            return ""
        wrong = "has exited" if self.state == "exited" else f"is {self.state}"
        if self.state == "running":
            wrong = "is dead" if self.health == "dead" else "does not answer"
        return f"{self.process} on {self.node} {wrong}"


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """Servers that work as one: ``serviceable`` only where all of them run, and its APIs answer. ``missing`` are those
    that don't; ``unseen``: how many of its processes are on nodes that are not looked at."""

    name: str
    role: str
    processes: tuple[str, ...]
    serviceable: bool
    missing: tuple[str, ...] = ()
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """``problem`` says why nothing could be compared with the inventory, where nothing could. ``groups`` are those with
    a process in sight."""

    cluster: str
    endpoint: str
    served_name: str
    processes: tuple[ProcessStatus, ...]
    problem: str = ""
    groups: tuple[GroupStatus, ...] = ()

    @property
    def up(self) -> bool:
        """Every process runs as declared, and every API answers."""
        return bool(self.processes) and not self.problem and all(p.serves and not p.drift for p in self.processes)

    @property
    def absent(self) -> bool:
        """Nothing of the cluster is there: it is down. Where docker is silent that is not known."""
        return all(p.state == "missing" for p in self.processes)

    @property
    def outage(self) -> str:
        """Why no request can be answered; empty where one can be, as far as is seen, and where nothing is there.

        A request takes one group of each role, and the router where there is one.
        """
        if self.absent:
            return ""
        routers = [p.failed for p in self.processes if p.kind == "router"]
        return "; ".join(reason for reason in (*routers, *map(self._without, self._roles)) if reason)

    @property
    def degraded(self) -> tuple[str, ...]:
        """Groups, or else routers and pools, that do not serve while others of their role do; empty where all serve,
        or where no request can be answered."""
        if self.outage or not all(self._serving(role) for role in self._roles):
            return ()
        groups = [group.name for group in self.groups if not group.serviceable]
        return (*groups, *(p.process for p in self.processes if p.kind in ("router", "pool") and not p.serves))

    @property
    def _roles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(group.role for group in self.groups))

    def _serving(self, role: str) -> bool:
        return any(group.serviceable for group in self.groups if group.role == role)

    def _without(self, role: str) -> str:
        """What is to blame where each group of this role has failed. One that is only out of sight may serve."""
        groups = [group for group in self.groups if group.role == role]
        failed = [[p.failed for p in self.processes if p.kind and p.process in g.missing and p.failed] for g in groups]
        if not all(failed):
            return ""
        reasons = [reason for each in failed for reason in each]
        more = f" and {len(reasons) - _BLAMED} more" if len(reasons) > _BLAMED else ""
        return (f"no {role} group serves: " if role else "") + ", ".join(reasons[:_BLAMED]) + more


def facts(settings: Settings) -> list[Fact[object]]:
    choice = [RouterChoice(settings.cluster)] if router.chooses(settings) else []
    return [Clock(), *launch.facts(settings), *launch.compared(settings), *choice]


def status(cluster: Cluster, inventory: Inventory, unreachable: Collection[str] = ()) -> ClusterStatus:
    """The status of the nodes in sight, and of what should run on the ``unreachable``. Needs ``facts`` observed.

    The layout spans all hosts of the inventory, so it is that of all of them, however few are in sight.
    """
    settings = cluster.settings
    try:
        planned = launch.partly_observed(inventory, cluster)
    except ProvisionError as error:
        found = [_found(node, c, None) for node in cluster.nodes for c in _containers(node)]
        return ClusterStatus(settings.cluster, "", "", tuple(found), problem=str(error))
    rows = cluster.each(lambda node: _of_node(node, planned))
    rows |= {name: _out_of_sight(name, planned) for name in unreachable}
    plan, in_order = planned.plan, [row for host in inventory.hosts for row in rows.get(host.name, ())]
    groups = tuple(seen for group in plan.groups if (seen := _group(group, in_order)))
    return ClusterStatus(settings.cluster, plan.endpoint, plan.served_name, tuple(in_order), groups=groups)


def _group(group: Group, rows: Sequence[ProcessStatus]) -> GroupStatus | None:
    """None where none of its processes is on a node that is looked at."""
    own = {row.process: row for row in rows if row.process in group.processes and row.kind}
    if not own:
        return None
    missing = tuple(name for name, row in own.items() if not row.serves)
    unseen = len(group.processes) - len(own)
    return GroupStatus(group.name, group.role, group.processes, not missing, missing, unseen)


def _containers(node: Node) -> Sequence[Container]:
    return node.get(Containers(node.settings.cluster)).containers


def _out_of_sight(node: str, planned: Launch) -> list[ProcessStatus]:
    return [_declared(process, "unknown") for process in planned.plan.processes if process.node == node]


def _declared(process: Process, state: str, drift: tuple[str, ...] = ()) -> ProcessStatus:
    """One of which no container is seen."""
    row = ProcessStatus(process.node, process.name, state, devices=process.devices, drift=drift)
    return _placed(row, process)


def _placed(row: ProcessStatus, process: Process) -> ProcessStatus:
    rank = process.rank if process.kind == "server" else None
    return replace(row, kind=process.kind, group=process.group, role=process.role, rank=rank, api=process.api_port)


def _of_node(node: Node, planned: Launch) -> list[ProcessStatus]:
    if not node.get(Containers(node.settings.cluster)).reachable:
        return _out_of_sight(node.name, planned)
    declared = [p for p in planned.plan.processes if p.node == node.name]
    there = {c.process: c for c in _containers(node)}
    health = _healths(node, [p for p in declared if p.name in there and there[p.name].running])
    rows = []
    for process in declared:
        container = there.pop(process.name, None)
        if container is None:
            rows.append(_declared(process, "missing", ("not started",)))
        else:
            found = _found(node, container, planned)
            found = replace(found, health=health.get(process.name, "-"), router=_router(node, process))
            rows.append(_placed(found, process))
    return [*rows, *(_found(node, c, planned) for c in there.values())]


def _router(node: Node, process: Process) -> str:
    if process.kind != "router":
        return ""
    chosen = node.get(RouterChoice(node.settings.cluster)).chosen if router.chooses(node.settings) else ""
    return router.kind_of(process, chosen)


def _found(node: Node, container: Container, planned: Launch | None) -> ProcessStatus:
    return ProcessStatus(
        node=node.name,
        process=container.process,
        state=container.state,
        age=_age(node, container),
        devices=container.devices,
        image=container.image,
        image_id=container.image_id,
        exit_code=None if container.running else container.exit_code,
        drift=drift.of_container(node, container, planned) if planned else (),
    )


def _healths(node: Node, running: Sequence[Process]) -> dict[str, str]:
    """What the APIs of a node say, all asked at the same time: one that hangs takes ten seconds."""
    asked = [process for process in running if process.api_port is not None]
    if not asked:
        return {}
    with ThreadPoolExecutor(len(asked)) as pool:
        return dict(zip([p.name for p in asked], pool.map(lambda p: _health(node, p), asked), strict=True))


def _health(node: Node, process: Process) -> str:
    readiness = probe_ready(node.http(process.api_port or 0), process)
    if readiness.healthy:
        return "answers"
    return "dead" if readiness.dead else "no answer yet"


def _age(node: Node, container: Container) -> float | None:
    """Seconds since the start, by the node's own clock."""
    return container.age(node.get(Clock()).epoch)
