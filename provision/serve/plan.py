"""What is to run where: the pure product of an inventory, addresses and a topology.

A ``LaunchPlan`` holds no transport and touches no node, so ``render`` and ``plan`` show it offline, and it is what the
launch scripts, the waits and the proof are made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Site:
    """What a topology must know of one node: its address among the ranks and the devices it may use.

    ``interface`` is empty where the inventory doesn't name it: the launch script then finds on the node the interface
    that owns ``address``. ``devices`` are davinci numbers; empty on ``cpu``. ``device_bytes`` is the memory of one
    device where it was observed; 0: what the hardware has as a rule.
    """

    node: str
    index: int
    address: str
    interface: str = ""
    devices: tuple[int, ...] = ()
    device_bytes: int = 0


Kind = Literal["server", "router", "pool"]


@dataclass(frozen=True, slots=True)
class Companion:
    """A file that a process reads: it lies beside the launch script, and in the container at ``/qnext/<name>``."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Process:
    """One container: a ``vllm serve``, the router before several, or the master of a KV pool, on one node.

    ``rank`` is the node rank (tensor-parallel) or the first data-parallel rank it hosts. ``argv`` of a server begins
    with ``vllm serve``, or holds it after what must run before (Ray). ``api_port`` is None on a headless process.
    ``engines`` are the data-parallel ranks it hosts, counted within its ``group``. ``ports`` are all TCP ports that
    must be free on its node, by purpose. ``interface_env`` are variables whose value is a prefix and the network
    interface that owns ``address``: filled where the inventory does not name the interface, for the launch script to
    find it on the node. ``image`` is empty for the plan's own. ``devices`` are those of the container; ``health`` is
    the path that answers 200 when it serves. ``login``: started by a login shell, which sets the image's library paths.
    ``keyed``: it is no server, and needs the API key all the same.
    """

    name: str
    node: str
    node_index: int
    rank: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    devices: tuple[int, ...] = ()
    api_port: int | None = None
    headless: bool = False
    engines: tuple[int, ...] = (0,)
    ports: Mapping[str, int] = field(default_factory=dict)
    address: str = ""
    interface_env: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "server"
    group: str = ""
    role: str = ""
    image: str = ""
    health: str = "/health"
    login: bool = True
    weights: bool = True
    files: tuple[Companion, ...] = ()
    keyed: bool = False

    @property
    def serves(self) -> bool:
        """Whether it is a server with an API of its own."""
        return self.kind == "server" and self.api_port is not None


@dataclass(frozen=True, slots=True)
class Wave:
    """Processes that start together. The next wave starts when ``started`` holds for all of these.

    ``started``: "running" (the container runs) or "port:<purpose>" (that port of ``Process.ports`` listens).
    ``front``: what stands before the servers, and starts when they are ready.
    """

    processes: tuple[str, ...]
    started: str = "running"
    front: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Servers that work as one: where one dies, none can go on, so they start and stop together.

    ``name`` is empty where there is but one group. ``engines``: data-parallel ranks of all its processes.
    """

    name: str
    role: str
    processes: tuple[str, ...]
    engines: int = 1


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """All processes of a cluster. ``head`` is the entry point: the one server with an API, or the router before
    several. ``engines`` counts those that must each generate, over all groups."""

    cluster: str
    topology: str
    hardware: str
    image: str
    model_path: str
    served_name: str
    processes: tuple[Process, ...]
    waves: tuple[Wave, ...]
    head: str
    endpoint: str
    engines: int = 1
    warnings: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()

    def process(self, name: str) -> Process:
        return next(p for p in self.processes if p.name == name)

    @property
    def entry(self) -> Process:
        """The process that clients ask."""
        return self.process(self.head)

    @property
    def servers(self) -> tuple[Process, ...]:
        """The servers that have an API of their own, the entry point's among them where no router stands before it."""
        return tuple(process for process in self.processes if process.serves)

    def group_of(self, process: Process) -> Group:
        """The group of a server."""
        return next(group for group in self.groups if process.name in group.processes)

    def behind(self, server: Process) -> tuple[int, ...]:
        """The data-parallel ranks of its group whose answers this server gives: all of them where it is the group's
        only API, else its own."""
        group = self.group_of(server)
        names = frozenset(group.processes)
        alone = sum(process.serves for process in self.processes if process.name in names) == 1
        return tuple(range(group.engines)) if alone else server.engines

    @property
    def units(self) -> tuple[tuple[str, ...], ...]:
        """Names of the processes that live and die together. Replicas know nothing of each other, and a router finds
        its servers again; groups that hand each other KV caches are one."""
        if self.topology == "replicas":
            servers: tuple[tuple[str, ...], ...] = tuple(group.processes for group in self.groups)
        else:
            servers = (tuple(name for group in self.groups for name in group.processes),)
        grouped = {name for unit in servers for name in unit}
        return (*servers, *((process.name,) for process in self.processes if process.name not in grouped))

    def unit_of(self, process: Process) -> tuple[str, ...]:
        """Names of the processes that live and die with this one."""
        return next(unit for unit in self.units if process.name in unit)


Severity = Literal["fail", "warn"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that the layout breaks: ``code`` of the domain's list (S04), the reason, its source, what would work."""

    code: str
    severity: Severity
    reason: str
    source: str
    remedy: str
