"""What a topology is made of. A topology is a file in this folder with the names of ``TopologySpec``.

::

    '''One line that explains it, then how it works and its source.'''
    def violations(layout): ...         # yields what this topology demands and the layout does not give
    def seats(layout): ...              # the processes of a group: where each runs, its rank and its own arguments
    def waves(seats): ...               # which start together, and what the next ones wait for

A topology of several groups has these too; its groups' own topologies then have the seats::

    def groups(layout): ...                             # layouts, each with a group's name and topology
    def dressed(layout, groups, group, seats): ...      # the seats of one group with what the whole adds to them
    def front(layout, servers): ...                     # what starts when the servers are ready: the router
    def back(layout, groups): ...                       # what starts before the servers: a pool's master
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provision import registry
from provision.serve.layout import Layout
from provision.serve.plan import Companion, Kind, Process, Violation, Wave
from provision.serve.profiles import Argument


@dataclass(frozen=True, slots=True)
class Seat:
    """A server of a topology: site ``index``, its rank, the data-parallel engines it hosts, and the ports it opens by
    purpose.

    ``arguments`` are those that only the topology knows, in their order; ``spare`` are computed ones that it doesn't
    need, for an operator's ``argument_order`` to name. ``devices`` are None where it takes those of the whole layout.
    ``env`` is computed and final, ``defaults`` are variables that an operator may override. ``port`` is that of its
    API. ``before`` are words before ``vllm serve``, and ``files`` what they read.
    """

    name: str
    index: int
    rank: int = 0
    engines: tuple[int, ...] = (0,)
    headless: bool = False
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    spare: Mapping[str, Argument] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    devices: tuple[int, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    before: tuple[str, ...] = ()
    files: tuple[Companion, ...] = ()


@dataclass(frozen=True, slots=True)
class Attendant:
    """A process that is no server: a router, a pool's master. Without devices and weights. ``keyed``: it needs the API
    key."""

    name: str
    index: int
    kind: Kind
    argv: tuple[str, ...]
    ports: Mapping[str, int] = field(default_factory=dict)
    api_port: int | None = None
    health: str = "/health"
    image: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Companion, ...] = ()
    login: bool = False
    keyed: bool = False


def _one_group(layout: Layout) -> Sequence[Layout]:
    return (layout,)


def _undressed(layout: Layout, groups: Sequence[Layout], group: Layout, seats: Sequence[Seat]) -> Sequence[Seat]:
    return seats


def _none(layout: Layout, others: object) -> Sequence[Attendant]:
    return ()


def _no_seats(layout: Layout) -> Sequence[Seat]:
    raise ValueError(f"{layout.topology} has groups, and seats only in them")


def _no_waves(seats: Sequence[Seat]) -> Sequence[Wave]:
    raise ValueError("a topology of groups has waves only in them")


@dataclass(frozen=True, slots=True)
class TopologySpec:
    """A loaded topology."""

    name: str
    doc: str
    violations: Callable[[Layout], Iterable[Violation]]
    seats: Callable[[Layout], Sequence[Seat]]
    waves: Callable[[Sequence[Seat]], Sequence[Wave]]
    groups: Callable[[Layout], Sequence[Layout]]
    dressed: Callable[[Layout, Sequence[Layout], Layout, Sequence[Seat]], Sequence[Seat]]
    front: Callable[[Layout, Sequence[Process]], Sequence[Attendant]]
    back: Callable[[Layout, Sequence[Layout]], Sequence[Attendant]]


def topology(name: str) -> TopologySpec:
    """The topology that an inventory calls ``name``. Raises ``ConfigError`` with a did-you-mean for an unknown one."""
    source = registry.load("topologies", name)
    return TopologySpec(
        name=name,
        doc=source.__doc__ or "",
        violations=source.violations,
        seats=getattr(source, "seats", _no_seats),
        waves=getattr(source, "waves", _no_waves),
        groups=getattr(source, "groups", _one_group),
        dressed=getattr(source, "dressed", _undressed),
        front=getattr(source, "front", _none),
        back=getattr(source, "back", _none),
    )


def groups_of(layout: Layout) -> Sequence[Layout]:
    """The groups that a layout's topology cuts it into; itself where it is one."""
    return topology(layout.topology).groups(layout)


def topologies() -> tuple[str, ...]:
    """All names, as inventories spell them."""
    return tuple(name.replace("_", "-") for name in registry.names("topologies"))


def name_of(index: int) -> str:
    """head, worker1, worker2, …"""
    return f"worker{index}" if index else "head"


def uneven(what: str, total: int, nodes: int) -> Violation:
    """The violation where ``total`` of something is not a multiple of the nodes."""
    return Violation(
        code="S02",
        severity="fail",
        reason=f"{what} {total} cannot be spread evenly over {nodes} nodes",
        source="arithmetic of ranks: every node hosts the same number",
        remedy="",
    )
