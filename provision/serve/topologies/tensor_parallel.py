"""One engine whose tensor-parallel (and pipeline) ranks span the nodes, by vLLM's multi-node executor.

Every node runs the same command with its own ``--node-rank``; only rank 0 has the API, the others are headless. All
ranks meet at the head's master port [vllm-ascend feature guide, pipeline parallel]. Upstream documents it but tests
it in no nightly case, hence the warning on Ascend.

The head's container starts first: where Docker refuses it, no other node is touched. The workers follow as soon as it
runs; they retry until the head's master port answers, so they need not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.serve.layout import Layout
from provision.serve.plan import Violation, Wave
from provision.serve.profiles import Argument
from provision.serve.topologies.base import Seat, name_of, uneven

_SOURCE = "vllm-ascend feature guide, pipeline parallel (--nnodes)"


def violations(layout: Layout) -> Iterator[Violation]:
    if layout.dp > 1:
        yield Violation(
            code="S02",
            severity="fail",
            reason=f"topology {layout.topology} is one engine, but data_parallel_size is {layout.dp}",
            source=_SOURCE,
            remedy="",
        )
    if layout.tp * layout.pp % layout.nodes:
        yield uneven("tensor_parallel_size x pipeline_parallel_size =", layout.tp * layout.pp, layout.nodes)


def seats(layout: Layout) -> Sequence[Seat]:
    return [_seat(layout, index) for index in range(layout.nodes)]


def waves(seats: Sequence[Seat]) -> Sequence[Wave]:
    head, *workers = (seat.name for seat in seats)
    return [Wave((head,)), *([Wave(tuple(workers))] if workers else [])]


def _seat(layout: Layout, index: int) -> Seat:
    serve = layout.head.serve
    ports = {"api": layout.port} if index == 0 else {}
    if layout.nodes == 1:
        return Seat(name_of(index), index, ports=ports, port=layout.port)
    if index == 0:
        ports["master"] = serve.master_port
    return Seat(
        name=name_of(index),
        index=index,
        rank=index,
        headless=index > 0,
        arguments=_arguments(layout, index),
        ports=ports,
        port=layout.port,
    )


def _arguments(layout: Layout, index: int) -> dict[str, Argument]:
    return {
        "distributed-executor-backend": "mp",
        "nnodes": layout.nodes,
        "node-rank": index,
        "master-addr": layout.sites[0].address,
        "master-port": layout.head.serve.master_port,
    }
