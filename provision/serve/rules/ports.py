"""Ports: distinct, and out of ranges that others take (S11)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from provision.serve.environment import environment
from provision.serve.layout import UNLIMITED, Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, warn
from provision.serve.structured import connectors, whole

HCCL_PORTS = range(60000, 60032)
"""HCCL's root-info negotiation on the host's NIC [CANN manual, HCCL_IF_BASE_PORT]."""

MOONCAKE_FIRST = 20000
MOONCAKE_STRIDE = 1000
"""Mooncake's direct transport takes random ports of 20000 to 20000 + 1000 x NPUs [vllm-ascend PD tutorial]."""

_KEYS = {"api": "serve.port", "rpc": "serve.data_parallel_rpc_port", "master": "serve.master_port"}
_KV = "kv_port of kv-transfer-config"


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
    """S11: each port has one purpose [one listener a port]."""
    purposes: dict[int, list[str]] = defaultdict(list)
    for key, port in _ports(layout).items():
        purposes[port].append(key)
    for port, keys in purposes.items():
        if len(keys) > 1:
            yield fail("S11", f"{' and '.join(keys)} are both {port}", "one listener a port", "choose distinct ports")


def in_kv_ports(layout: Layout) -> Iterator[Violation]:
    """S11: a KV connector listens on kv_port and, for each device, on one more [vllm-ascend disaggregation guide]."""
    ranges = _kv_ranges(layout)
    for key, port in _ports(layout).items():
        for taken in ranges:
            if port in taken:
                yield fail(
                    "S11",
                    f"{key} {port} lies in {_text(taken)}, which the KV connector takes on every node",
                    "vllm-ascend disaggregation guide: kv_port to kv_port + devices",
                    "choose a port outside of it, or another kv_port",
                )
    for one, other in pairwise(ranges):
        if one.start < other.stop and other.start < one.stop:
            reason = f"two KV connectors take {_text(one)} and {_text(other)}"
            source = "vllm-ascend disaggregation guide: kv_ports are apart by the number of devices"
            yield fail("S11", reason, source, f"choose kv_ports that are {len(one)} and more apart")


def reserved(layout: Layout) -> Iterator[Violation]:
    """S11: ranges that HCCL and Mooncake take [CANN manual, HCCL_IF_BASE_PORT; vllm-ascend disaggregation tutorial]."""
    mooncake, hccl = _mooncake(layout), hccl_ranges(layout)
    ranges = {**_ranges(layout), _KV: kv[0]} if (kv := _kv_ranges(layout)) else _ranges(layout)
    for key, ports in ranges.items():
        for taken in hccl:
            if _meet(ports, taken):
                yield warn(
                    "S11",
                    f"{key} {ports.start} lies in {_text(taken)}, where HCCL negotiates",
                    "CANN manual, HCCL_IF_BASE_PORT",
                    "choose a port outside of it",
                )
        if _meet(ports, mooncake):
            yield warn(
                "S11",
                f"{key} {ports.start} lies in {_text(mooncake)}, of which Mooncake takes any",
                "vllm-ascend disaggregation tutorial",
                f"choose a port outside of it: {mooncake.stop} or above",
            )


def hccl_ranges(layout: Layout) -> tuple[range, ...]:
    """Ports on which HCCL negotiates on the host: its own, or those that ``serve.env`` gives it."""
    if not layout.accelerator.default_devices:
        return ()
    final = environment(layout, 0)[0]
    given = re.findall(r"(\d{1,5})(?:-(\d{1,5}))?", final.get("HCCL_HOST_SOCKET_PORT_RANGE", ""))
    if given:
        return tuple(range(int(first), int(last or first) + 1) for first, last in given)
    base = whole(final.get("HCCL_IF_BASE_PORT"))
    return (range(base, base + len(HCCL_PORTS)) if base else HCCL_PORTS,)


def _ports(layout: Layout) -> Mapping[str, int]:
    return {_KEYS[purpose]: port for purpose, port in head_ports(layout).items()}


def _ranges(layout: Layout) -> dict[str, range]:
    return {key: range(port, port + 1) for key, port in _ports(layout).items()}


def _kv_ranges(layout: Layout) -> list[range]:
    """The ports of each KV connector: kv_port and one more a device [vllm-ascend disaggregation guide]."""
    devices = max(len(site.devices) for site in layout.sites) if layout.devices_available != UNLIMITED else 0
    bases = sorted({base for each in connectors(layout, 0) if (base := whole(each.get("kv_port")))})
    return [range(base, base + max(1, devices)) for base in bases]


def _mooncake(layout: Layout) -> range:
    if not any(connectors(layout, 0)):
        return range(0)
    return range(MOONCAKE_FIRST, MOONCAKE_FIRST + MOONCAKE_STRIDE * max(len(s.devices) for s in layout.sites))


def _meet(one: range, other: range) -> bool:
    return bool(one and other) and one.start < other.stop and other.start < one.stop


def _text(ports: range) -> str:
    return f"{ports.start}-{ports.stop - 1}"


RULES: tuple[Rule, ...] = (distinct, in_kv_ports, reserved)
