"""One server on one node: tensor parallel within it, and data parallel too where there are devices for it.

vLLM's main path; nothing is coordinated over a network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.serve.layout import Layout
from provision.serve.plan import Violation, Wave
from provision.serve.topologies import data_parallel
from provision.serve.topologies.base import Seat


def violations(layout: Layout) -> Iterator[Violation]:
    if layout.nodes > 1:
        yield Violation(
            code="S02",
            severity="fail",
            reason=f"topology single is one server on one node, but {layout.nodes} nodes are selected",
            source="topology single",
            remedy="",
        )


def seats(layout: Layout) -> Sequence[Seat]:
    sizes = {"data-parallel-size": layout.dp}
    return [
        Seat(
            name="server",
            index=0,
            engines=tuple(range(layout.dp)),
            arguments=sizes if layout.dp > 1 else {},
            spare=data_parallel.ranks(layout, 0),
            ports={"api": layout.port},
            port=layout.port,
        )
    ]


def waves(seats: Sequence[Seat]) -> Sequence[Wave]:
    return [Wave(tuple(seat.name for seat in seats))]
