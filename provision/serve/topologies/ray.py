"""One engine over all nodes by Ray: a head that serves, and workers that lend it their devices.

Each container starts Ray itself, in the environment that its ranks are to have. The head then waits until ``ray
status`` shows all nodes and as many NPUs as the engine needs, says what is missing, and only then becomes ``vllm
serve --distributed-executor-backend ray``, which by itself would wait for half an hour without a word. Workers stay in
the foreground and end when the head is gone: the group dies as one. Sizes are as for tensor-parallel over nodes.

Upstream has a tutorial of it and no nightly case, and many reports of failures, hence the warning on Ascend
[vllm-ascend multi-node Ray tutorial; issues 3529, 4123, 7159, 10910].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from provision.resources import shipped
from provision.serve.layout import Layout
from provision.serve.plan import Companion, Violation, Wave
from provision.serve.topologies import tensor_parallel
from provision.serve.topologies.base import Seat, name_of

JOIN_SECONDS = 300
"""How long the head waits for the others: they start as soon as its port listens, and join within seconds."""

_NOSET = "RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES"


def violations(layout: Layout) -> Iterator[Violation]:
    yield from tensor_parallel.violations(layout)


def seats(layout: Layout) -> Sequence[Seat]:
    return [_seat(layout, index) for index in range(layout.nodes)]


def waves(seats: Sequence[Seat]) -> Sequence[Wave]:
    head, *workers = (seat.name for seat in seats)
    return [Wave((head,), started="port:ray"), *([Wave(tuple(workers))] if workers else [])]


def _seat(layout: Layout, index: int) -> Seat:
    serve = layout.head.serve
    return Seat(
        name=name_of(index),
        index=index,
        rank=index,
        headless=index > 0,
        arguments={"distributed-executor-backend": "ray"},
        ports={} if index else {"api": layout.port, "ray": serve.ray_port},
        defaults={_NOSET: "1"} if layout.accelerator.default_devices else {},
        port=layout.port,
        before=("sh", "/qnext/ray.sh", *(_worker(layout, index) if index else _head(layout))),
        files=(_script(),),
    )


def _head(layout: Layout) -> tuple[str, ...]:
    ranks = layout.tp * layout.pp * layout.context_parallel if layout.accelerator.default_devices else 0
    patience = min(JOIN_SECONDS, round(layout.head.serve.ready_timeout))
    numbers = (layout.head.serve.ray_port, layout.nodes, ranks, patience)
    return ("head", _address(layout, 0), *(str(number) for number in numbers))


def _worker(layout: Layout, index: int) -> tuple[str, ...]:
    return ("worker", _address(layout, index), f"{_address(layout, 0)}:{layout.head.serve.ray_port}")


def _address(layout: Layout, index: int) -> str:
    return layout.sites[index].address or "127.0.0.1"


@cache
def _script() -> Companion:
    return Companion("ray.sh", (shipped("templates") / "ray" / "ray.sh").read_text(encoding="utf-8"))
