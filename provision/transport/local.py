"""The controller itself as a node (``ansible_connection: local``): the same frames, to a ``sh`` started here."""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import threading
from typing import IO

from provision.errors import ConnectionLost, RemoteError
from provision.inventory.model import Host
from provision.transport.engine import prologue
from provision.transport.remote import Heard, RemoteTransport

_CHUNK = 1024 * 1024
_PIPE = 32 * 1024


class LocalTransport(RemoteTransport):
    """Commands as processes of this machine, each in a session of its own."""

    def __init__(self, host: Host) -> None:
        connection = host.connection
        password = connection.become_password
        super().__init__(
            host.name,
            sudo=connection.become and os.geteuid() != 0,
            sudo_password=password.reveal if password else None,
            prologue=prologue(host.settings),
        )

    def open_tcp(self, host: str, port: int, *, timeout: float) -> socket.socket:
        """See ``Transport.open_tcp``."""
        return socket.create_connection((host, port), timeout=timeout)

    def close(self) -> None:
        """Nothing is held open."""

    def _start(self, command: str) -> _Process:
        return _Process(command, self._name)

    def _broken(self, reason: str) -> ConnectionLost:
        return ConnectionLost(reason, node=self._name)


class _Process:
    """A ``Session`` over the pipes of a child process."""

    def __init__(self, command: str, node: str) -> None:
        pipe = subprocess.PIPE
        try:
            self._child = subprocess.Popen(
                ["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
            )
        except OSError as error:
            raise RemoteError(f"cannot start sh: {error}", node=node) from error
        self._in, self._out, self._err = map(_given, (self._child.stdin, self._child.stdout, self._child.stderr))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        self._selector.register(self._err, selectors.EVENT_READ)

    def send(self, data: bytes, *, end: bool) -> None:
        if len(data) <= _PIPE:
            self._write(data, end)
        else:  # in a thread of its own: the child may answer before it has read all
            threading.Thread(target=self._write, args=(data, end), daemon=True).start()

    def _write(self, data: bytes, end: bool) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._in.write(view) :]
            if end:
                self._in.close()
        except (OSError, ValueError):
            return  # it ended without reading all: what it said, and its status, tell why

    def receive(self, timeout: float, *, eager: bool = False) -> Heard:
        if not self._selector.get_map():
            return Heard(b"", b"", True)
        got = {key.fileobj: self._read(key) for key, _ in self._selector.select(max(0.0, timeout))}
        return Heard(got.get(self._out, b""), got.get(self._err, b""), not self._selector.get_map())

    def _read(self, key: selectors.SelectorKey) -> bytes:
        data = os.read(key.fd, _CHUNK)
        if not data:
            self._selector.unregister(key.fileobj)
        return data

    def status(self) -> int | None:
        try:
            code = self._child.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else None

    def finish(self) -> None:
        """Its shell ends by itself, and ``close`` waits for that."""

    def close(self) -> None:
        self._selector.close()
        for stream in (self._in, self._out, self._err):
            stream.close()
        try:
            self._child.wait(timeout=0.2)
        except subprocess.TimeoutExpired:  # something of it lives on: wait for it out of the way
            threading.Thread(target=self._child.wait, daemon=True).start()


def _given(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
