"""Ports: distinct, and out of ranges that others take (S11)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from provision.serve.argv import engine_arguments
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, warn

HCCL_PORTS = range(60000, 60032)
"""HCCL's root-info negotiation on the host's NIC [CANN manual, HCCL_IF_BASE_PORT]."""

MOONCAKE_FIRST = 20000
MOONCAKE_STRIDE = 1000
"""Mooncake's direct transport takes random ports of 20000 to 20000 + 1000 x NPUs [vllm-ascend PD tutorial]."""

_KEYS = {"api": "serve.port", "rpc": "serve.data_parallel_rpc_port", "master": "serve.master_port"}


def head_ports(layout: Layout) -> dict[str, int]:
    """The ports that the head opens, by purpose."""
    serve = layout.head.serve
    ports = {"api": serve.port}
    if layout.spans_nodes:
        ports["master"] = serve.master_port
    if layout.topology == "data-parallel" and layout.nodes > 1:
        ports["rpc"] = serve.data_parallel_rpc_port
    return ports


def distinct(layout: Layout) -> Iterator[Violation]:
    """S11: each port has one purpose."""
    purposes: dict[int, list[str]] = defaultdict(list)
    for purpose, port in head_ports(layout).items():
        purposes[port].append(_KEYS[purpose])
    for port, keys in purposes.items():
        if len(keys) > 1:
            yield fail("S11", f"{' and '.join(keys)} are both {port}", "one listener a port", "choose distinct ports")


def reserved(layout: Layout) -> Iterator[Violation]:
    """S11: ranges that HCCL and Mooncake take."""
    mooncake = _mooncake(layout)
    for purpose, port in head_ports(layout).items():
        if port in HCCL_PORTS and layout.accelerator.default_devices:
            yield warn(
                "S11",
                f"{_KEYS[purpose]} {port} lies in {HCCL_PORTS.start}-{HCCL_PORTS.stop - 1}, where HCCL negotiates",
                "CANN manual, HCCL_IF_BASE_PORT",
                "choose a port outside of it",
            )
        if port in mooncake:
            yield warn(
                "S11",
                f"{_KEYS[purpose]} {port} lies in {mooncake.start}-{mooncake.stop - 1}, of which Mooncake takes any",
                "vllm-ascend disaggregation tutorial",
                "choose a port outside of it",
            )


def _mooncake(layout: Layout) -> range:
    if "kv-transfer-config" not in engine_arguments(layout, 0):
        return range(0)
    return range(MOONCAKE_FIRST, MOONCAKE_FIRST + MOONCAKE_STRIDE * max(len(s.devices) for s in layout.sites))


RULES: tuple[Rule, ...] = (distinct, reserved)
