"""What is there now: every declared process and every container of ours, as observed, with its age and its drift."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from provision.errors import ProvisionError
from provision.evaluate.prove import probe_ready
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.facts.system import Clock
from provision.inventory.model import Inventory, Settings
from provision.node import Cluster, Node
from provision.serve import drift, launch
from provision.serve.launch import Launch


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process on one node.

    ``state``: docker's word, missing, or unknown where the node can't be reached. ``health``: generating is not asked
    here; "answers" is what /health says of an API process, "-" where none is served. ``age`` in seconds since its
    start. ``drift``: how it differs from the inventory.
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


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """``problem`` says why nothing could be compared with the inventory, where nothing could."""

    cluster: str
    endpoint: str
    served_name: str
    processes: tuple[ProcessStatus, ...]
    problem: str = ""

    @property
    def up(self) -> bool:
        """Every process runs as declared, and the API answers."""
        good = [p.state == "running" and not p.drift and p.health in ("-", "answers") for p in self.processes]
        return bool(good) and all(good)


def facts(settings: Settings) -> list[Fact[object]]:
    return [Clock(), *launch.facts(settings), *launch.compared(settings)]


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
    in_order = [row for host in inventory.hosts for row in rows.get(host.name, ())]
    return ClusterStatus(settings.cluster, planned.plan.endpoint, planned.plan.served_name, tuple(in_order))


def _containers(node: Node) -> Sequence[Container]:
    return node.get(Containers(node.settings.cluster)).containers


def _out_of_sight(node: str, planned: Launch) -> list[ProcessStatus]:
    return [ProcessStatus(node, p.name, "unknown", devices=p.devices) for p in planned.plan.processes if p.node == node]


def _of_node(node: Node, planned: Launch) -> list[ProcessStatus]:
    declared = [p for p in planned.plan.processes if p.node == node.name]
    there = {c.process: c for c in _containers(node)}
    rows = []
    for process in declared:
        container = there.pop(process.name, None)
        if container is None:
            rows.append(
                ProcessStatus(node.name, process.name, "missing", devices=process.devices, drift=("not started",))
            )
        else:
            rows.append(_found(node, container, planned))
    return [*rows, *(_found(node, c, planned) for c in there.values())]


def _found(node: Node, container: Container, planned: Launch | None) -> ProcessStatus:
    return ProcessStatus(
        node=node.name,
        process=container.process,
        state=container.state,
        health=_health(node, container, planned),
        age=_age(node, container),
        devices=container.devices,
        image=container.image,
        image_id=container.image_id,
        exit_code=None if container.running else container.exit_code,
        drift=drift.of_container(node, container, planned) if planned else (),
    )


def _health(node: Node, container: Container, planned: Launch | None) -> str:
    process = next((p for p in planned.plan.processes if p.name == container.process), None) if planned else None
    if process is None or process.api_port is None or not container.running:
        return "-"
    readiness = probe_ready(node.http(process.api_port))
    if readiness.healthy:
        return "answers"
    return "dead" if readiness.dead else "no answer yet"


def _age(node: Node, container: Container) -> float | None:
    """Seconds since the start, by the node's own clock."""
    now = node.get(Clock()).epoch
    if not container.running or now is None:
        return None
    try:
        # Docker writes nanoseconds; datetime reads microseconds.
        started = datetime.fromisoformat(container.started[:26].rstrip("Z")).replace(tzinfo=UTC)
    except ValueError:
        return None
    return max(0.0, now - started.timestamp())
