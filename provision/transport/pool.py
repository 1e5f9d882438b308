"""The connections of a run: one a node, opened when first needed, opened again when lost, jump hosts shared.

Many nodes connect at the same time, up to ``max_connects``. A server that turns a connection away before the login (its
``MaxStartups`` is reached, or it is just starting) is asked again a little later; one that refuses or doesn't answer is
not, so that a dead node is known within seconds.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from provision.clock import sleep
from provision.errors import ConnectionLost, Interrupted, Unreachable
from provision.facts.base import Fact
from provision.inventory.model import Host
from provision.results import Result
from provision.transport.base import Counters, Transport
from provision.transport.dial import TurnedAway

if TYPE_CHECKING:
    import socket

    from provision.transport.local import LocalTransport
    from provision.transport.ssh import Opened, SSHTransport
    from provision.transport.target import Target

R = TypeVar("R")

RETRIES = (0.2, 0.5, 1.0, 2.0)
"""Seconds, at most, before a server that turned a connection away is asked again; the actual wait is random."""

CROWD = 8
"""Connections to one address at once that a default sshd takes without dropping any (MaxStartups 10:30:100)."""


class Pool:
    """The connections to ``hosts``. A context manager; ``stop`` ends waits between attempts."""

    def __init__(self, hosts: Iterable[Host], *, max_connects: int = 64, stop: threading.Event | None = None) -> None:
        self._nodes = {host.name: _Node(host, self) for host in hosts}
        self._stop = stop
        self._closed = False
        self._connecting = threading.BoundedSemaphore(max(1, max_connects))
        self._jumps = _Jumps(self)
        self._crowds = Counter(_door(node.host) for node in self._nodes.values())

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, host: Host | str) -> Transport:
        """The open connection to a host, which connects again by itself: keep it. Raises an ``Unreachable``."""
        node = self._nodes[host if isinstance(host, str) else host.name]
        node.connected()
        return node

    def counters(self) -> dict[str, Counters]:
        """What each node has cost so far."""
        return {name: node.counters for name, node in self._nodes.items()}

    def close(self) -> None:
        """Close all, at the same time. What still runs over them raises ``ConnectionLost``."""
        self._closed = True
        closers = [threading.Thread(target=node.close, daemon=True) for node in self._nodes.values() if node.is_open]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join(timeout=2.0)
        self._jumps.close()

    # ---- for the nodes

    def open(self, host: Host) -> SSHTransport | LocalTransport:
        """Connect, trying again where the server is only busy."""
        if host.connection.kind == "local":
            from provision.transport.local import LocalTransport

            return LocalTransport(host)
        if (crowd := self._crowds[_door(host)]) > CROWD:
            self._pause(0.02 * crowd)
        return self.patiently(lambda: self._open_ssh(host))

    def patiently(self, connect: Callable[[], R]) -> R:
        """Call ``connect`` until the server doesn't turn it away."""
        for most in RETRIES:
            self._check_open()
            try:
                return connect()
            except TurnedAway:
                self._pause(most)
        self._check_open()
        return connect()

    def _open_ssh(self, host: Host) -> SSHTransport:
        from provision.transport.ssh import SSHTransport, target_of

        target = target_of(host)
        with self._connecting:
            jump = self._jumps.get(target.via) if target.via else None
            return SSHTransport.open(host, target=target, jump=jump)

    def _pause(self, most: float) -> None:
        sleep(random.uniform(most / 4, most), self._stop)

    def _check_open(self) -> None:
        if self._stop is not None and self._stop.is_set():
            raise Interrupted("stopped while connecting")
        if self._closed:
            raise ConnectionLost("the run is over: its connections are closed")


def _door(host: Host) -> tuple[str, int | None]:
    return host.connection.host, host.connection.port


class _Jumps:
    """Open jump hosts, one connection each: MaxSessions counts what runs on a host, not channels to nodes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open: dict[Target, Opened] = {}
        self._locks: dict[Target, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, target: Target) -> Opened:
        """The open connection to a jump host; opened, after the ones before it, by whoever comes first."""
        with self._lock:
            lock = self._locks.setdefault(target, threading.Lock())
        with lock:
            opened = self._open.get(target)
            if opened is None or not opened.alive:
                opened = self._open[target] = self._pool.patiently(lambda: self._connect(target))
            return opened

    def _connect(self, target: Target) -> Opened:
        from provision.transport.ssh import open_target

        before = self.get(target.via) if target.via else None
        try:
            return open_target(target, before)
        except Unreachable as error:
            error.args = (f"jump host {error.message}",)
            error.message = f"jump host {error.message}"
            raise

    def close(self) -> None:
        for opened in self._open.values():
            opened.close()


class _Node:
    """A ``Transport`` that lasts for the run: it connects when used, and again after the connection was lost.

    What was under way when it was lost fails with ``ConnectionLost``, except for what only looks: that is asked again.
    """

    def __init__(self, host: Host, pool: Pool) -> None:
        self.host = host
        self._pool = pool
        self._lock = threading.Lock()
        self._transport: SSHTransport | LocalTransport | None = None
        self._counters = Counters()

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def counters(self) -> Counters:
        return self._counters

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def connected(self) -> SSHTransport | LocalTransport:
        with self._lock:
            if self._transport is None or not self._transport.alive:
                try:
                    self._transport = self._pool.open(self.host)
                except Unreachable as error:
                    error.node = self.name
                    raise
                self._transport.count_in(self._counters)
            return self._transport

    def run(self, script: str, *, deadline: float, input: bytes = b"", become: bool = True, label: str = "") -> Result:
        """See ``Transport.run``."""
        return self.connected().run(script, deadline=deadline, input=input, become=become, label=label)

    def probe(self, facts: Sequence[Fact[object]], *, become: bool = True) -> dict[Fact[object], Result]:
        """See ``Transport.probe``."""
        return self._again(lambda transport: transport.probe(facts, become=become))

    def stream(self, script: str, *, become: bool = True, deadline: float | None = None) -> Iterator[bytes]:
        """See ``Transport.stream``."""
        return self.connected().stream(script, become=become, deadline=deadline)

    def pipe(self, script: str, *, become: bool = True, deadline: float | None = None) -> Iterator[bytes]:
        """See ``Transport.pipe``."""
        return self.connected().pipe(script, become=become, deadline=deadline)

    def put(self, path: str, content: bytes, *, mode: int, become: bool = True) -> None:
        """See ``Transport.put``."""
        self._again(lambda transport: transport.put(path, content, mode=mode, become=become))

    def get(self, path: str, *, become: bool = True, offset: int = 0, length: int = 0) -> bytes:
        """See ``Transport.get``."""
        return self._again(lambda transport: transport.get(path, become=become, offset=offset, length=length))

    def open_tcp(self, host: str, port: int, *, timeout: float) -> socket.socket:
        """See ``Transport.open_tcp``."""
        return self._again(lambda transport: transport.open_tcp(host, port, timeout=timeout))

    def close(self) -> None:
        """Close the connection, should there be one."""
        transport = self._transport
        if transport is not None:
            transport.close()

    def _again(self, do: Callable[[SSHTransport | LocalTransport], R]) -> R:
        """``do`` what may be done twice: looking, and putting a file, which is all or nothing."""
        try:
            return do(self.connected())
        except ConnectionLost:
            return do(self.connected())
