"""A server for each data-parallel rank, each with an API, a port and devices of its own, behind a router.

The ranks of a mixture of experts step together all the same, so all must be up. Rank 0 holds the coordinator, whose
address and port the others are given; they start once that port listens, as they give up after five minutes without it
[vllm-ascend examples/external_online_dp; vLLM, external load balancing].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.serve import router
from provision.serve.layout import Layout
from provision.serve.plan import Process, Violation, Wave
from provision.serve.profiles import Argument
from provision.serve.topologies.base import Attendant, Seat, uneven


def violations(layout: Layout) -> Iterator[Violation]:
    if layout.dp % layout.nodes:
        yield uneven("data_parallel_size", layout.dp, layout.nodes)
    if layout.shape and not layout.experts and layout.dp > 1:
        yield Violation(
            code="S05",
            severity="warn",
            reason="external-dp is for a mixture of experts; newer vLLM refuses to start a dense model so",
            source="vLLM: Non-MoE models do not support external data parallel mode",
            remedy="use topology replicas: its servers know nothing of each other",
        )
    if layout.topology == "external-dp" and not layout.role:
        yield from router.violations(layout)


def seats(layout: Layout) -> Sequence[Seat]:
    return [_seat(layout, rank) for rank in range(layout.dp)]


def waves(seats: Sequence[Seat]) -> Sequence[Wave]:
    first, *others = (seat.name for seat in seats)
    if not others:
        return [Wave((first,))]
    return [Wave((first,), started="port:rpc"), Wave(tuple(others))]


def front(layout: Layout, servers: Sequence[Process]) -> Sequence[Attendant]:
    return router.attendants(layout, servers)


def _seat(layout: Layout, rank: int) -> Seat:
    index, local = divmod(rank, layout.local_engines)
    size = layout.tp * layout.pp * layout.context_parallel
    devices = layout.devices_of(layout.sites[index])
    ports = {"api": layout.port + local}
    if rank == 0 and layout.dp > 1:
        ports["rpc"] = layout.head.serve.data_parallel_rpc_port
    return Seat(
        name=f"rank{rank}",
        index=index,
        rank=rank,
        engines=(rank,),
        arguments=_arguments(layout, rank) if layout.dp > 1 else {},
        spare={**_arguments(layout, rank), "data-parallel-size-local": 1},
        ports=ports,
        port=layout.port + local,
        devices=devices[local * size : (local + 1) * size],
    )


def _arguments(layout: Layout, rank: int) -> dict[str, Argument]:
    """What places a rank among the others; a rank of one alone is an error [vLLM ParallelConfig]."""
    return {
        "data-parallel-size": layout.dp,
        "data-parallel-rank": rank,
        "data-parallel-address": layout.sites[0].address or "127.0.0.1",
        "data-parallel-rpc-port": layout.head.serve.data_parallel_rpc_port,
    }
