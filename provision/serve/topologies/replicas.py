"""Independent servers, several on each node where its devices suffice, behind a router.

Nothing is coordinated over a network, and a dead server takes no other with it: for a model that fits into a part of
a node it is the best way to throughput [vllm-router]. Each server takes the next TP x PP x DP devices of its node, in
whole modules. ``data_parallel_size`` counts the engines within each server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from provision.serve import router
from provision.serve.layout import UNLIMITED, Layout
from provision.serve.plan import Process, Violation
from provision.serve.topologies.base import Attendant


def violations(layout: Layout) -> Iterator[Violation]:
    yield from router.violations(layout)
    wanted = layout.head.serve.replicas_per_node
    for index, site in enumerate(layout.sites):
        room = _room(layout, index)
        if (wanted and wanted > room) or not room:
            yield Violation(
                code="S03",
                severity="fail",
                reason=f"{site.node} has {len(site.devices)} devices: {room} servers of {_size(layout)} fit, "
                f"{wanted or 1} wanted",
                source="a rank of its own needs a device of its own",
                remedy="",
            )


def groups(layout: Layout) -> Sequence[Layout]:
    made: list[Layout] = []
    for index, site in enumerate(layout.sites):
        for slot in range(servers_of(layout, index)):
            devices = sorted(site.devices)[slot * _size(layout) : (slot + 1) * _size(layout)]
            made.append(
                replace(
                    layout,
                    topology="single",
                    sites=(replace(site, devices=tuple(devices)),),
                    settings=(layout.settings[index],),
                    port=layout.port + slot,
                    group=f"replica{len(made)}",
                )
            )
    return made


def front(layout: Layout, servers: Sequence[Process]) -> Sequence[Attendant]:
    return router.attendants(layout, servers)


def servers_of(layout: Layout, index: int) -> int:
    """Servers of a node: as many as wanted, else as many as its devices hold."""
    return layout.head.serve.replicas_per_node or min(_room(layout, index), UNLIMITED)


def _size(layout: Layout) -> int:
    """Devices of one server, in whole modules."""
    module = layout.accelerator.module_size
    ranks = layout.tp * layout.pp * layout.context_parallel * layout.dp
    return -(-ranks // module) * module


def _room(layout: Layout, index: int) -> int:
    if not layout.accelerator.default_devices:
        return layout.head.serve.replicas_per_node or 1
    return len(layout.sites[index].devices) // _size(layout)
