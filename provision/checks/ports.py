"""The ports that the servers need on this node are free. Our own running servers may have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks.base import Finding
from provision.checks.support import Skip, ascend, containers, look, span
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.network import Listener, Ports, PortsValue
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve import launch

CODE = "N18"
LEVEL = "fail"
SCOPE = "node"


HCCL_PORTS = range(60000, 60032)
"""Where HCCL negotiates on the host, unless HCCL_IF_BASE_PORT says otherwise [domain 3.4]."""

_KEYS = {
    "API": "qnext.serve.port",
    "rendezvous": "qnext.serve.master_port",
    "data-parallel handshake": "qnext.serve.data_parallel_rpc_port",
}


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Ports(), Containers(settings.cluster)


def run(node: Node) -> Iterable[Finding]:
    if any(c.running for c in containers(node).containers):
        raise Skip("our own servers run and hold their ports")
    listening = look(node, Ports())
    if node.index == 0 or node.settings.serve.topology == "single":  # elsewhere ranks take what is free
        for purpose, port in launch.ports_on(node).items():
            if holder := listening.holder(port):
                yield _taken(purpose, holder)
    if ascend(node.settings):
        yield from _hccl(listening)


def _taken(purpose: str, holder: Listener) -> Finding:
    key = _KEYS.get(purpose, "qnext.serve")
    return Finding(
        f"port {holder.port} ({purpose}) is taken by {_who(holder)}",
        f"ss -ltnp 'sport = :{holder.port}' on the node; stop it, or choose another port: {key}",
        expected="free",
        observed=f"{holder.address}:{holder.port}, {_who(holder)}",
    )


def _hccl(listening: PortsValue) -> Iterator[Finding]:
    held = [holder for port in HCCL_PORTS if (holder := listening.holder(port))]
    if held:
        yield Finding(
            f"port {span(holder.port for holder in held)}, where HCCL negotiates, is taken by {_who(held[0])}",
            "stop it, or set HCCL_IF_BASE_PORT in qnext.serve.env; "
            "keep the range free: sysctl -w net.ipv4.ip_local_reserved_ports=60000-60031",
            expected="60000 to 60031 free",
            observed=_who(held[0]),
            level="warn",
        )


def _who(holder: Listener) -> str:
    return f"{holder.process} (pid {holder.pid})" if holder.pid else "a process that cannot be named"
