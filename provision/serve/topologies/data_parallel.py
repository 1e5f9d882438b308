"""One API on the head over data-parallel engines on all nodes: vLLM's internal data parallel.

It is upstream's main multi-node path, run every night.

Each node hosts the same number of engines, each of TP x PP ranks. The head has the API and rank 0; the workers are
headless and give their first rank. (A start rank other than 0 without ``--headless`` would silently mean another
load-balancing mode, so the head gives none.) All engines shake hands at the head's rpc port and give up after five
minutes, which cannot be configured: the workers start once that port listens [vllm v1/engine/utils.py and core.py].

On one node the engines meet over local sockets: no rpc port is opened, and none is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.serve.layout import Layout
from provision.serve.plan import Violation, Wave
from provision.serve.profiles import Argument
from provision.serve.topologies.base import Seat, name_of, uneven


def violations(layout: Layout) -> Iterator[Violation]:
    if layout.dp % layout.nodes:
        yield uneven("data_parallel_size", layout.dp, layout.nodes)
    if layout.pp > 1 and layout.dp > 1 and layout.experts and layout.nodes > 1:
        yield Violation(
            code="S13",
            severity="fail",
            reason="pipeline and data parallel cannot both be over 1 for a mixture of experts over several nodes",
            source="vllm-ascend feature guide, pipeline parallel: limits over RoCE",
            remedy="",
        )


def seats(layout: Layout) -> Sequence[Seat]:
    return [_seat(layout, index) for index in range(layout.nodes)]


def waves(seats: Sequence[Seat]) -> Sequence[Wave]:
    head, *workers = seats
    if not workers:
        return [Wave((head.name,))]
    return [Wave((head.name,), started="port:rpc"), Wave(tuple(worker.name for worker in workers))]


def _seat(layout: Layout, index: int) -> Seat:
    start = index * layout.local_engines
    ports = {"api": layout.port} if index == 0 else {}
    if index == 0 and layout.nodes > 1:
        ports["rpc"] = layout.head.serve.data_parallel_rpc_port
    return Seat(
        name=name_of(index),
        index=index,
        rank=start,
        engines=tuple(range(start, start + layout.local_engines)),
        headless=index > 0,
        arguments=_arguments(layout, start),
        spare=ranks(layout, start),
        ports=ports,
        port=layout.port,
    )


def ranks(layout: Layout, start: int) -> dict[str, Argument]:
    """All that places a node's engines among those of the others."""
    return {
        "data-parallel-size": layout.dp,
        "data-parallel-size-local": layout.local_engines,
        "data-parallel-start-rank": start,
        "data-parallel-address": layout.sites[0].address,
        "data-parallel-rpc-port": layout.head.serve.data_parallel_rpc_port,
    }


def _arguments(layout: Layout, start: int) -> dict[str, Argument]:
    every = ranks(layout, start)
    if start == 0:
        del every["data-parallel-start-rank"]
    if layout.nodes == 1:
        return {name: every[name] for name in ("data-parallel-size", "data-parallel-size-local")}
    return every
