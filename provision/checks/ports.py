"""The ports that the servers need on this node are free, and stay free. Our own running servers may have them.

Beside the planned ones HCCL negotiates on 60000 to 60031 of the host, unless HCCL_IF_BASE_PORT or
HCCL_HOST_SOCKET_PORT_RANGE says otherwise [domain 3.4]. A port inside ``net.ipv4.ip_local_port_range`` can be taken by
any program's outgoing connection, at any time; ``net.ipv4.ip_local_reserved_ports`` keeps it out of that.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator

from pydantic import Field

from provision.accel.protocol import accelerator
from provision.actions import Action
from provision.checks import undo
from provision.checks.base import CheckArgs, Finding
from provision.checks.support import Skip, ascend, containers, look, span
from provision.facts.base import Fact
from provision.facts.clusters import Clusters
from provision.facts.docker import Containers
from provision.facts.network import Listener, Ports
from provision.facts.sysctl import Sysctl, SysctlValue
from provision.inventory.model import Settings
from provision.node import Node
from provision.results import ActionResult
from provision.serve import kv, launch
from provision.serve.layout import ROUTED
from provision.serve.rules.ports import HCCL_PORTS

CODE = "N18"
LEVEL = "fail"
SCOPE = "node"

RANGE, RESERVED = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"

_KEYS = {
    "API": "qnext.serve.port",
    "rendezvous": "qnext.serve.master_port",
    "data-parallel handshake": "qnext.serve.data_parallel_rpc_port",
    "Ray": "qnext.serve.ray_port",
    "KV pool": "qnext.serve.kv_pool.master_port",
    "KV pool metrics": "qnext.serve.kv_pool.metrics_port",
}
_NUMBERED = {"server ": "qnext.serve.server_port", "KV transfer": "qnext.serve.kv_transfer.port"}
"""By how a purpose begins, of which a node may have several."""


class Args(CheckArgs):
    """What more is judged."""

    reserved: bool = Field(True, description="whether ports in the range of outgoing connections must be reserved")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Ports(), Containers(settings.cluster), Sysctl(), _clusters(settings)


def _clusters(settings: Settings) -> Clusters:
    return Clusters(settings.state_dir, settings.cluster)


def run(args: Args, node: Node) -> Iterable[Finding]:
    if any(c.running for c in containers(node).containers):
        raise Skip("our own servers run and hold their ports")
    listening = look(node, Ports())
    planned = _planned(node)
    for purpose, port in planned.items():
        if holder := listening.holder(port):
            yield _taken(node, purpose, holder)
        else:
            yield from _promised(node, purpose, port)
    hccl = _hccl(node.settings)
    if held := [holder for port in hccl if (holder := listening.holder(port))]:
        yield _hccl_taken(node, held, hccl)
    if args.reserved:
        yield from _unreserved(node.get(Sysctl()), planned, hccl)


def fix(args: Args, node: Node, findings: tuple[Finding, ...]) -> Generator[Action, ActionResult, None]:
    """The reservation, until the next boot."""
    yield from undo.kernel_settings(node.settings, findings)


def _planned(node: Node) -> dict[str, int]:
    """Ports by purpose that servers may take on this node. What only one node of a group opens is left out elsewhere,
    where that is known: ranks take what is free."""
    serve, ports = node.settings.serve, launch.ports_on(node)
    if serve.topology == "single":
        return ports
    spread = serve.topology == "prefill-decode"  # any of its nodes may be the first of a group
    first = node.index == 0
    entry = node.name == serve.router.node if serve.router.node and serve.topology in ROUTED else first
    left_out = {"API"} if not entry or (serve.topology in ROUTED and serve.router.kind == "none") else set()
    left_out |= set() if first or spread else {"rendezvous", "data-parallel handshake", "Ray"}
    mine = {purpose: port for purpose, port in ports.items() if purpose not in left_out}
    if serve.topology != "prefill-decode":
        return mine
    pool = serve.kv_pool if first else None
    kept = {"KV pool": pool.master_port, "KV pool metrics": pool.metrics_port} if pool else {}
    return mine | kept | _transferring(node.settings)


def _transferring(settings: Settings) -> dict[str, int]:
    """Where a node's servers hand over KV caches: one port for each rank of its group (NIXL: each engine), as which of
    them are on this node is not known here. Other connectors open none that is known."""
    serve, given = settings.serve, settings.serve.kv_transfer
    if any(name.replace("_", "-") == "kv-transfer-config" for name in serve.engine_args):
        return {}
    if kv.is_nixl(given.connector):
        count, base = serve.data_parallel_size, given.port or kv.NIXL_PORT
    elif kv.is_mooncake(given.connector):
        count = serve.tensor_parallel_size * serve.pipeline_parallel_size * serve.data_parallel_size
        npus = max(8, len(accelerator(settings.hardware).default_devices), len(settings.devices or ()))
        base = given.port or kv.MOONCAKE_FIRST + kv.MOONCAKE_STRIDE * npus
    else:
        return {}
    return {f"KV transfer {number}": base + number for number in range(count)}


def _key(purpose: str) -> str:
    """The setting that decides a port."""
    return _KEYS.get(purpose) or next(
        (key for start, key in _NUMBERED.items() if purpose.startswith(start)), "qnext.serve"
    )


def _hccl(settings: Settings) -> list[int]:
    """Where HCCL negotiates on the host."""
    if not ascend(settings):
        return []
    given = re.findall(r"(\d{1,5})(?:-(\d{1,5}))?", str(settings.serve.env.get("HCCL_HOST_SOCKET_PORT_RANGE", "")))
    if given:
        return [port for first, last in given for port in range(int(first), int(last or first) + 1)]
    base = str(settings.serve.env.get("HCCL_IF_BASE_PORT", ""))
    first = int(base) if base.isdecimal() else HCCL_PORTS.start
    return list(range(first, first + len(HCCL_PORTS)))


# ---- taken


def _taken(node: Node, purpose: str, holder: Listener) -> Finding:
    key, who = _key(purpose), _who(node, holder)
    return Finding(
        f"port {holder.port} ({purpose}) is taken by {who}",
        f"ss -ltnp 'sport = :{holder.port}' on the node; stop it, or choose another port: {key}",
        expected="free",
        observed=f"{holder.address}:{holder.port}, {who}",
    )


def _promised(node: Node, purpose: str, port: int) -> Iterator[Finding]:
    """Another cluster's launch scripts on this node name the port: when it comes up, one of the two fails."""
    others = node.get(_clusters(node.settings)).holders(port)
    if others:
        name, planned = others[0]
        script = f"{node.settings.state_dir}/{name}/launch/{planned.process}.sh"
        yield Finding(
            f"port {port} ({purpose}) is also that of cluster {name}, which does not run now ({script})",
            f"choose another port: {_key(purpose)}; or take that cluster down for good "
            f"(qnext-provision down with its inventory)",
            expected="a port of its own",
            observed=f"--{planned.option} {port} of {planned.process} of cluster {name}",
            level="warn",
        )


def _hccl_taken(node: Node, held: list[Listener], hccl: list[int]) -> Finding:
    who = _who(node, held[0])
    return Finding(
        f"port {span(holder.port for holder in held)}, where HCCL negotiates, is taken by {who}",
        f"stop it, or set HCCL_IF_BASE_PORT in qnext.serve.env; keep the range free: sysctl -w {RESERVED}={span(hccl)}",
        expected=f"{span(hccl)} free",
        observed=who,
        level="warn",
    )


def _who(node: Node, holder: Listener) -> str:
    """The process, and the container where it is one's own."""
    if not holder.pid:
        return "a process that cannot be named"
    there = containers(node)
    inside = next((c for c in (*there.containers, *there.foreign) if c.pid == holder.pid), None)
    where = f" in container {inside.name}" if inside else ""
    where += f" of cluster {inside.cluster}" if inside and inside.cluster else ""
    return f"{holder.process} (pid {holder.pid}){where}"


# ---- reserved


def _unreserved(kernel: SysctlValue, planned: dict[str, int], hccl: list[int]) -> Iterator[Finding]:
    """Ports that any outgoing connection may take before us."""
    outgoing = {port for ports in kernel.ports(RANGE) for port in ports}
    kept = {port for ports in kernel.ports(RESERVED) for port in ports}
    open_ports = sorted({*planned.values(), *hccl} & outgoing - kept)
    if not open_ports:
        return
    wanted = span(sorted({*open_ports, *kept})).replace(" ", "")
    named = _named({purpose: port for purpose, port in planned.items() if port in open_ports})
    named += [f"{span(port for port in hccl if port in open_ports)} (HCCL)"] if set(hccl) & set(open_ports) else []
    yield Finding(
        f"port {', '.join(named)} may be taken by any outgoing connection: it lies in {RANGE}, and is not reserved",
        undo.kernel_remedy(RESERVED, wanted),
        expected=f"{RESERVED} with {span(open_ports)}",
        observed=kernel.values.get(RESERVED) or undo.EMPTY,
        level="warn",
        fix=undo.kernel_fix(RESERVED, wanted),
    )


def _named(ports: dict[str, int]) -> list[str]:
    """Ports with their purposes; those that are only numbered, as ``KV transfer 0``, as spans."""
    by_kind: dict[str, list[str]] = {}
    for purpose in ports:
        by_kind.setdefault(re.sub(r" \d+$", "", purpose), []).append(purpose)
    return [
        f"{span(ports[purpose] for purpose in purposes)} ({kind if len(purposes) > 1 else purposes[0]})"
        for kind, purposes in by_kind.items()
    ]
