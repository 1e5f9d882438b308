"""Data-parallel engines on all nodes with an API on each, behind a router: vLLM's hybrid load balancing.

As data-parallel, but no API carries the requests of all nodes: each balances among the engines of its own, and the
router among the nodes. The engines of a mixture of experts step together all the same, so a lost node stops all. Every
node says its first rank, the first one too [vLLM, --data-parallel-hybrid-lb]. Upstream has little evidence of it on
Ascend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from provision.serve import router
from provision.serve.layout import Layout
from provision.serve.plan import Process, Violation
from provision.serve.topologies import data_parallel
from provision.serve.topologies.base import Attendant, Seat

waves = data_parallel.waves


def violations(layout: Layout) -> Iterator[Violation]:
    yield from data_parallel.violations(layout)
    yield from router.violations(layout)
    if layout.nodes == 1:
        yield Violation(
            code="S02",
            severity="fail",
            reason="hybrid-dp is one API a node, and there is one node",
            source="vLLM: where all engines are local, hybrid load balancing is off",
            remedy="use topology data-parallel",
        )


def seats(layout: Layout) -> Sequence[Seat]:
    return [_seat(layout, seat) for seat in data_parallel.seats(layout)]


def front(layout: Layout, servers: Sequence[Process]) -> Sequence[Attendant]:
    return router.attendants(layout, servers)


def _seat(layout: Layout, seat: Seat) -> Seat:
    placed = data_parallel.ranks(layout, seat.rank)
    return replace(
        seat,
        name=f"server{seat.index}",
        headless=False,
        arguments={**placed, "data-parallel-hybrid-lb": True},
        ports={**seat.ports, "api": layout.port},
    )
