"""TCP of a node's own Python programs: they bind the node's address only, come from it, and meet the faults of the way.

Only programs that speak of sockets pay for this. The faults ``tcp/<peer>`` are of the way from this node to the other:
``refused`` leads to a port where nobody listens, ``dropped`` to one whose queue is full (the kernel then ignores who
knocks), so that time-outs, non-blocking sockets and event loops see what they would see; ``slow MS`` delays.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeAlias

from provision.clock import sleep
from provision.rehearsal.node import Node
from provision.rehearsal.standins.net import bound_to_all

_OWN = ("", "0.0.0.0", "::", "127.0.0.1", "127.0.1.1", "localhost", "::1")
_Address: TypeAlias = "tuple[str, int]"


class _Way:
    """From this node to the others. ``full`` are sockets whose queue is full, kept open as long as the process runs."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._network = node.address.rpartition(".")[0]
        self._full: list[socket.socket] = []
        self._slow: dict[int, float] = {}

    def own(self, host: str) -> str:
        """The address to use for ``host`` as the node means it."""
        return self._node.address if host in (*_OWN, self._node.name) else host

    def remember(self, port: int) -> None:
        """A program listens for all addresses: /proc/net/tcp shows it so."""
        bound_to_all(self._node, port)

    def to(self, host: str, port: int, descriptor: int) -> _Address:
        """Where a connection to a host really goes."""
        host = self.own(self.address_of(host))
        fault = self._node.state.get(f"tcp/{self._peer(host)}") if self._peer(host) else ""
        if fault == "refused":
            return self._node.address, 1
        if fault == "dropped":
            return self._black_hole()
        if fault.startswith("slow"):
            self._slow[descriptor] = float((fault.split()[1:2] or ["100"])[0]) / 1000
            sleep(self._slow[descriptor])
        return host, port

    def delay(self, descriptor: int) -> None:
        """A message on a slow way takes its time."""
        if descriptor in self._slow:
            sleep(self._slow[descriptor])

    def forget(self, descriptor: int) -> None:
        self._slow.pop(descriptor, None)

    def address_of(self, host: str) -> str:
        """What the node's /etc/hosts has for a name; the name itself where it has nothing."""
        with open(f"{self._node.root}/etc/hosts", encoding="utf-8") as file:
            rows = [line.partition("#")[0].split() for line in file]
        return next((row[0] for row in rows if host in row[1:]), host)

    def _peer(self, host: str) -> str:
        """The name of the node that has an address; empty for none of this cluster."""
        network, _, number = host.rpartition(".")
        return f"node{number}" if network == self._network and host != self._node.address else ""

    def _black_hole(self) -> _Address:
        if not self._full:
            hole = socket.socket()
            _bind(hole, (self._node.address, 0))
            hole.listen(0)
            filling = [socket.socket() for _ in range(2)]
            for one in filling:
                one.setblocking(False)
                one.connect_ex(hole.getsockname())
            self._full = [hole, *filling]
        name = self._full[0].getsockname()
        return str(name[0]), int(name[1])


_bind = socket.socket.bind
_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_send = socket.socket.send
_sendall = socket.socket.sendall
_close = socket.socket.close
_getaddrinfo: Callable[..., object] = socket.getaddrinfo


def install(node: Node) -> None:
    """From now on sockets of this process are the node's."""
    way = _Way(node)

    def bind(self: socket.socket, address: _Address) -> None:
        if self.family != socket.AF_INET:
            _bind(self, address)
            return
        own = way.own(address[0])
        if own != node.address:
            raise OSError(99, "Cannot assign requested address")
        _bind(self, (own, address[1]))
        if address[0] in ("", "0.0.0.0"):
            way.remember(int(self.getsockname()[1]))

    def prepared(self: socket.socket, address: _Address) -> _Address:
        """Connections come from the node's own address."""
        if self.family != socket.AF_INET or self.type & socket.SOCK_DGRAM:
            return address
        target = way.to(address[0], address[1], self.fileno())
        if target[0].startswith("127.") and self.getsockname()[1] == 0:
            _bind(self, (node.address, 0))
        return target

    def connect(self: socket.socket, address: _Address) -> None:
        _connect(self, prepared(self, address))

    def connect_ex(self: socket.socket, address: _Address) -> int:
        return _connect_ex(self, prepared(self, address))

    def send(self: socket.socket, data: bytes, flags: int = 0) -> int:
        way.delay(self.fileno())
        return _send(self, data, flags)

    def sendall(self: socket.socket, data: bytes, flags: int = 0) -> None:
        way.delay(self.fileno())
        _sendall(self, data, flags)

    def getaddrinfo(host: str | None, *args: int | str | None, **options: int) -> object:
        return _getaddrinfo(host and way.address_of(host), *args, **options)

    def close(self: socket.socket) -> None:
        way.forget(self.fileno())
        _close(self)

    for name, method in (("bind", bind), ("connect", connect), ("connect_ex", connect_ex), ("send", send),
                         ("sendall", sendall), ("close", close)):  # fmt: skip
        setattr(socket.socket, name, method)
    for name, function in (("getaddrinfo", getaddrinfo), ("gethostname", lambda: node.name),
                           ("gethostbyname", way.address_of)):  # fmt: skip
        setattr(socket, name, function)
