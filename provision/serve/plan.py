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


@dataclass(frozen=True, slots=True)
class Process:
    """One container: a ``vllm serve`` (or, later, a router) on one node.

    ``rank`` is the node rank (tensor-parallel) or the first data-parallel rank it hosts. ``argv`` begins with
    ``vllm``. ``api_port`` is None on a headless process. ``engines`` are the data-parallel ranks it hosts. ``ports``
    are all TCP ports that must be free on its node, by purpose. ``interface_env`` are variables whose value is a
    prefix and the network interface that owns ``address``: filled where the inventory does not name the interface,
    for the launch script to find it on the node.
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


@dataclass(frozen=True, slots=True)
class Wave:
    """Processes that start together. The next wave starts when ``started`` holds for all of these.

    ``started``: "running" (the container runs) or "port:<purpose>" (that port of ``Process.ports`` listens).
    """

    processes: tuple[str, ...]
    started: str = "running"


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """All processes of a cluster. ``head`` serves the API; ``engines`` counts those that must each generate."""

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

    def process(self, name: str) -> Process:
        return next(p for p in self.processes if p.name == name)


Severity = Literal["fail", "warn"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that the layout breaks: ``code`` of the domain's list (S04), the reason, its source, what would work."""

    code: str
    severity: Severity
    reason: str
    source: str
    remedy: str
