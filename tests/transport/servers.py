"""SSH servers to test against: OpenSSH, asyncssh, and a TCP relay before them that has the faults of real networks."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from provision.inventory.model import Connection, Host
from tests.bench import sshd
from tests.transport.async_server import USER


@dataclass(frozen=True)
class Door:
    """Where a server is, and what opens it."""

    address: str
    port: int
    user: str
    key: Path
    known_hosts: Path

    def connection(self, **changes: Any) -> Connection:
        """A connection that works, but for ``changes``."""
        right = Connection(
            host=self.address,
            port=self.port,
            user=self.user,
            key_file=str(self.key),
            known_hosts=(str(self.known_hosts),),
            connect_timeout=5.0,
            use_agent=False,
            ssh_config="none",
        )
        return replace(right, **changes)

    def host(self, name: str = "node", **changes: Any) -> Host:
        return host(self.connection(**changes), name)

    def through(self, port: int) -> Door:
        """The same server behind another port, known by the same key."""
        kind, key = self.known_hosts.read_text().split()[1:3]
        known = self.known_hosts.with_name(f"known_hosts.{port}")
        known.write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
        return replace(self, address="127.0.0.1", port=port, known_hosts=known)


def host(connection: Connection, name: str = "node") -> Host:
    settings: Any = SimpleNamespace(install=SimpleNamespace(method="image", engine="docker"))
    return Host(name, 0, (), connection, settings)


@contextmanager
def openssh(folder: Path, *, options: str = "") -> Iterator[Door]:
    with sshd.running(folder, 1, options=options) as server:
        yield Door(server.addresses[0], server.port, server.user, server.key, server.known_hosts)


@contextmanager
def asyncssh_server(folder: Path, *, leads: bool = True) -> Iterator[Door]:
    """The other implementation, in a process of its own; see ``async_server``."""
    argv = [sys.executable, "-m", "tests.transport.async_server", str(folder), "session" if leads else "no-session"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdin
    assert process.stdout
    with process:
        try:
            port = int(process.stdout.readline())
            yield Door("127.0.0.1", port, USER, folder / "id", folder / "known_hosts")
        finally:
            process.terminate()


# ---- a network with faults


class Relay:
    """Passes TCP on to a server, until told otherwise. A context manager."""

    def __init__(self, door: Door) -> None:
        self._target = (door.address, door.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.turn_away = 0
        """So many connections are closed at once."""
        self.mute = False
        """Connections are accepted, and nothing is passed on."""
        self.accepted = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """Break all connections: each side gets a TCP reset."""
        with self._lock:
            for sock in self._open:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                try:
                    sock.shutdown(socket.SHUT_RD)
                except OSError:
                    continue
                finally:
                    sock.close()
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.turn_away > 0:
                self.turn_away -= 1
                near.close()
                continue
            with self._lock:
                self._open.append(near)
            if not self.mute:
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        far = socket.create_connection(self._target)
        with self._lock:
            self._open.append(far)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return
