"""Ports: distinct on each node, over all its processes, and out of ranges that others take (S11)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from provision.serve.argv import normal
from provision.serve.environment import environment
from provision.serve.layout import UNLIMITED, Layout
from provision.serve.plan import Process, Violation
from provision.serve.rules.base import Rule, Together, fail, warn
from provision.serve.structured import connectors, whole
from provision.serve.topologies.base import Seat, TopologySpec, topology

LAST_PORT = 65535
HCCL_PORTS = range(60000, 60032)
"""HCCL's root-info negotiation on the host's NIC [CANN manual, HCCL_IF_BASE_PORT]."""

MOONCAKE_FIRST = 20000
MOONCAKE_STRIDE = 1000
"""Mooncake's direct transport takes random ports of 20000 to 20000 + 1000 x NPUs [vllm-ascend PD tutorial]."""

_KEYS = {
    "api": "serve.port",
    "rpc": "serve.data_parallel_rpc_port",
    "master": "serve.master_port",
    "ray": "serve.ray_port",
    "pool": "serve.kv_pool.master_port",
    "metrics": "serve.kv_pool.metrics_port",
}
_KV = "kv_port of kv-transfer-config"
_KV_PURPOSE = re.compile(r"kv\d*\Z")
_GUIDE = "vllm-ascend disaggregation guide"


@dataclass(frozen=True, slots=True)
class Opened:
    """Ports that a process listens on: ``what`` for, as an operator sets it. ``process`` is empty where there is but
    one server with an API, ``group`` where there is but one group. ``kv``: those of a KV connector."""

    node: str
    process: str
    what: str
    ports: range
    kv: bool = False
    group: str = ""


def opened(layout: Layout, groups: Sequence[Layout]) -> tuple[Opened, ...]:
    """All ports that the processes of a layout listen on, node by node. The layout must be one that can be cut."""
    chosen = topology(layout.topology)
    found: list[Opened] = []
    servers: list[Process] = []
    several = len(groups) > 1 or layout.routed
    for group in groups:
        seats = chosen.dressed(layout, groups, group, topology(group.topology).seats(group))
        for seat in seats:
            name = _name(group, seat) if several else ""
            found += _of_seat(layout, group, seat, name)
            servers.append(_process(group, seat, _name(group, seat)))
    return (*found, *_of_attendants(layout, groups, chosen, servers))


def _name(group: Layout, seat: Seat) -> str:
    if not group.group:
        return seat.name
    return group.group if seat.name == "server" else f"{group.group}-{seat.name}"


def _process(group: Layout, seat: Seat, name: str) -> Process:
    """As much of a process as a router must know."""
    site = group.sites[seat.index]
    return Process(
        name=name,
        node=site.node,
        node_index=site.index,
        rank=seat.rank,
        argv=(),
        env={},
        api_port=None if seat.headless else seat.port,
        headless=seat.headless,
        address=site.address,
        group=group.group,
        role=group.role,
    )


def _of_seat(layout: Layout, group: Layout, seat: Seat, name: str) -> Iterator[Opened]:
    node = group.sites[seat.index].node
    given = _given_kv(group, seat)
    for purpose, port in seat.ports.items():
        if not _KV_PURPOSE.match(purpose):
            key = "serve.server_port" if purpose == "api" and layout.routed else _KEYS.get(purpose, purpose)
            yield Opened(node, name, key, range(port, port + 1))
    kv = sorted(port for purpose, port in seat.ports.items() if _KV_PURPOSE.match(purpose))
    if given:
        yield from (Opened(node, name, _KV, ports, kv=True, group=group.group) for ports in given)
    elif kv:
        yield Opened(node, name, "serve.kv_transfer.port", range(kv[0], kv[-1] + 1), kv=True, group=group.group)


def _given_kv(group: Layout, seat: Seat) -> list[range]:
    """The ports of the connectors that engine_args give: kv_port + data-parallel rank x ranks of an engine, and one
    more for each device of the node at least [vllm-ascend disaggregation guide; mooncake_connector.py]."""
    if not any(normal(name).startswith("kv-transfer-config") for name in group.settings[seat.index].serve.engine_args):
        return []
    each = group.tp * group.pp * group.context_parallel
    devices = len(group.sites[seat.index].devices) if group.devices_available != UNLIMITED else 0
    first = min(seat.engines, default=0) * each
    length = max(1, devices if group.topology != "external-dp" else each, len(seat.engines) * each)
    bases = sorted({base for each_one in connectors(group, seat.index) if (base := whole(each_one.get("kv_port")))})
    return [range(base + first, base + first + length) for base in bases]


def _of_attendants(
    layout: Layout, groups: Sequence[Layout], chosen: TopologySpec, servers: Sequence[Process]
) -> Iterator[Opened]:
    for attendant in (*chosen.back(layout, groups), *chosen.front(layout, servers)):
        node = layout.sites[attendant.index].node
        for purpose, port in attendant.ports.items():
            yield Opened(node, attendant.name, _KEYS.get(purpose, purpose), range(port, port + 1))


def distinct(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S11: each port has one purpose, over all processes of a node, and a KV connector takes one a rank from kv_port on
    [one listener a port; vllm-ascend disaggregation guide]."""
    by_node: dict[str, list[Opened]] = defaultdict(list)
    for one in opened(layout, groups):
        by_node[one.node].append(one)
    for node, found in by_node.items():
        where = f"{node}: " if len(groups) > 1 or layout.routed else ""
        for one, other in combinations(found, 2):
            if _meet(one.ports, other.ports):
                yield _clash(where, one, other)


def in_range(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S11: ports of servers and connectors are counted up from a first one, which can lead past the last [TCP]."""
    for one in opened(layout, groups):
        if one.ports.stop - 1 > LAST_PORT:
            reason = f"{one.node}: {_said(one)} comes to {one.ports.stop - 1}, past the last port, {LAST_PORT}"
            yield fail("S11", reason, "TCP has 65535 ports", f"lower {one.what}: ports count up from it")


def _clash(where: str, one: Opened, other: Opened) -> Violation:
    if one.kv and other.kv:
        reason = f"{where}two KV connectors take {_text(one.ports)} and {_text(other.ports)}{_whose(one, other)}"
        source = f"{_GUIDE}: kv_ports are apart by the number of devices"
        return fail("S11", reason, source, f"choose kv_ports that are {len(one.ports)} and more apart")
    if one.kv or other.kv:
        kv, plain = (one, other) if one.kv else (other, one)
        return fail(
            "S11",
            f"{where}{_said(plain)} {plain.ports.start} lies in {_text(kv.ports)}, which the KV connector takes on "
            "every node",
            f"{_GUIDE}: kv_port to kv_port + devices",
            "choose a port outside of it, or another kv_port",
        )
    reason = f"{where}{_said(one)} and {_said(other)} are both {one.ports.start}"
    return fail("S11", reason, "one listener a port", "choose distinct ports")


def _said(one: Opened) -> str:
    return f"{one.what} of {one.process}" if one.process and one.process != "router" else one.what


def _whose(one: Opened, other: Opened) -> str:
    return f", of {one.process} and {other.process}" if one.process != other.process else ""


def reserved(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S11: ranges that HCCL and Mooncake take [CANN manual, HCCL_IF_BASE_PORT; vllm-ascend disaggregation tutorial]."""
    mooncake, hccl = _mooncake(layout, groups), {group.group: hccl_ranges(group) for group in groups}
    every = [taken for ranges in hccl.values() for taken in ranges]
    for one in _first_ones(opened(layout, groups)):
        said = f"{one.group}: {one.what}" if one.group else one.what
        for taken in dict.fromkeys(every):
            if _meet(one.ports, taken):
                yield warn(
                    "S11",
                    f"{said} {one.ports.start} lies in {_text(taken)}, where HCCL negotiates",
                    "CANN manual, HCCL_IF_BASE_PORT",
                    "choose a port outside of it",
                )
        if _meet(one.ports, mooncake):
            yield warn(
                "S11",
                f"{said} {one.ports.start} lies in {_text(mooncake)}, of which Mooncake takes any",
                "vllm-ascend disaggregation tutorial",
                f"choose a port outside of it: {mooncake.stop} or above",
            )


def _first_ones(found: Sequence[Opened]) -> Iterator[Opened]:
    """One of those that an operator sets by one key: the ports of a group's KV connectors follow from the first."""
    seen: set[tuple[str, str, int]] = set()
    for one in found:
        key = (one.what, one.group, 0 if one.kv and one.group else one.ports.start)
        if key not in seen:
            seen.add(key)
            yield one


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


def _mooncake(layout: Layout, groups: Sequence[Layout]) -> range:
    """What Mooncake takes where a connector is at work. Without NPUs there is no direct transport."""
    connected = layout.topology == "prefill-decode" or any(any(connectors(group, 0)) for group in groups)
    if not connected or not layout.accelerator.default_devices:
        return range(0)
    return range(MOONCAKE_FIRST, MOONCAKE_FIRST + MOONCAKE_STRIDE * max(len(s.devices) for s in layout.sites))


def _meet(one: range, other: range) -> bool:
    return bool(one and other) and one.start < other.stop and other.start < one.stop


def _text(ports: range) -> str:
    return f"{ports.start}-{ports.stop - 1}" if len(ports) > 1 else str(ports.start)


RULES: tuple[Rule, ...] = ()
TOGETHER: tuple[Together, ...] = (distinct, in_range, reserved)
