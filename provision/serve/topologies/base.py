"""What a topology is made of. A topology is a file in this folder with the names of ``TopologySpec``.

::

    '''One line that explains it, then how it works and its source.'''
    def violations(layout): ...         # yields what this topology demands and the layout does not give
    def seats(layout): ...              # the processes: where each runs, its rank and its own arguments
    def waves(seats): ...               # which start together, and what the next ones wait for
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provision import registry
from provision.serve.layout import Layout
from provision.serve.plan import Violation, Wave


@dataclass(frozen=True, slots=True)
class Seat:
    """A process of a topology: site ``index``, its rank, the data-parallel engines it hosts, the words of the
    arguments that only the topology knows, and the ports it opens by purpose."""

    name: str
    index: int
    rank: int = 0
    engines: tuple[int, ...] = (0,)
    headless: bool = False
    words: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopologySpec:
    """A loaded topology."""

    name: str
    doc: str
    violations: Callable[[Layout], Iterable[Violation]]
    seats: Callable[[Layout], Sequence[Seat]]
    waves: Callable[[Sequence[Seat]], Sequence[Wave]]


def topology(name: str) -> TopologySpec:
    """The topology that an inventory calls ``name``. Raises ``ConfigError`` with a did-you-mean for an unknown one."""
    source = registry.load("topologies", name)
    return TopologySpec(name, source.__doc__ or "", source.violations, source.seats, source.waves)


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
