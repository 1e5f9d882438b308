"""The HTTP client: the standard library's, speaking through a channel of the node's open connection.

A server on a node is asked for at the node's own loopback address, so what answers is what the node sees: no proxy
variable of the controller, no firewall and no bastion takes part, and no port needs to be open to the controller.
One channel is one exchange; the deadline covers the whole of it, however slowly a server drips.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from provision.clock import monotonic
from provision.http import Response

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from provision.transport.base import Transport

MAX_BODY = 64 * 1024 * 1024
"""Bytes of an answer that are read: far above any ``/metrics``, and a bound on what a wrong server can do to us."""

FORWARDING_HINT = (
    "let sshd on the node forward TCP for the login user: `AllowTcpForwarding yes` (or `local`) in "
    "/etc/ssh/sshd_config, no `DisableForwarding yes`, then `systemctl reload sshd`"
)
_PROHIBITED = "administratively prohibited"


class TunnelHttp:
    """``Http`` to ``host:port`` as the node sees it."""

    def __init__(self, transport: Transport, port: int, *, host: str = "127.0.0.1") -> None:
        self._transport = transport
        self._host = host
        self._port = port

    def get(self, path: str, *, timeout: float = 10.0, token: str = "") -> Response:
        return self._exchange("GET", path, None, timeout, token)

    def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response:
        return self._exchange("POST", path, payload, timeout, token)

    def stream(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Iterator[str]:
        started = monotonic()
        try:
            with self._request("POST", path, payload, timeout, token) as answer:
                if 200 <= answer.status < 300:
                    yield from _events(answer)
                    return
                failed = _read(answer, started)
        except (OSError, http.client.HTTPException) as error:
            failed = self._no_answer(error, timeout, started)
        yield json.dumps({"error": {"message": failed.problem(), "code": failed.status}})

    def _exchange(self, method: str, path: str, payload: object, timeout: float, token: str) -> Response:
        started = monotonic()
        try:
            with self._request(method, path, payload, timeout, token) as answer:
                return _read(answer, started)
        except (OSError, http.client.HTTPException) as error:
            return self._no_answer(error, timeout, started)

    @contextmanager
    def _request(
        self, method: str, path: str, payload: object, timeout: float, token: str
    ) -> Iterator[http.client.HTTPResponse]:
        ends = monotonic() + timeout
        channel = self._transport.open_tcp(self._host, self._port, timeout=timeout)
        try:
            connection = http.client.HTTPConnection(self._host, self._port)
            connection.sock = _Channel(channel, ends)
            body = None if payload is None else json.dumps(payload).encode()
            connection.request(method, path, body=body, headers=_headers(payload, token))
            answer = connection.getresponse()
            with answer:
                yield answer
        finally:
            channel.close()

    def _no_answer(self, error: Exception, timeout: float, started: float) -> Response:
        text, hint = self._explain(error, timeout)
        return Response(0, error=text, hint=hint, seconds=monotonic() - started)

    def _explain(self, error: Exception, timeout: float) -> tuple[str, str]:
        where = f"{self._host}:{self._port}"
        if _PROHIBITED in str(error).lower():
            return f"sshd of the node forbids TCP forwarding to {where}", FORWARDING_HINT
        if isinstance(error, TimeoutError):
            return f"{where} gave no answer within {timeout:g} s", ""
        if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():
            return f"nothing listens on {where}", ""
        if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
            return f"{where} closed the connection without an answer", ""
        if isinstance(error, http.client.IncompleteRead):
            return f"{where} broke off in the middle of its answer", ""
        if isinstance(error, http.client.BadStatusLine):
            return f"what listens on {where} speaks no HTTP", ""
        return f"{where}: {error or type(error).__name__}", ""


def _headers(payload: object, token: str) -> dict[str, str]:
    headers = {"Accept": "*/*", "Connection": "close", "User-Agent": "qnext-provision"}
    if payload is not None:
        headers["Content-Type"] = "application/json"
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _read(answer: http.client.HTTPResponse, started: float) -> Response:
    body = answer.read(MAX_BODY)
    if answer.length and len(body) < MAX_BODY:  # read(n) keeps silent about a body that breaks off
        raise http.client.IncompleteRead(body, answer.length)
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return Response(answer.status, body, headers, monotonic() - started)


def _events(answer: http.client.HTTPResponse) -> Iterator[str]:
    """``data`` of each event, its lines joined as the format says; comments and other fields are dropped."""
    data: list[str] = []
    while line := answer.readline():
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
        elif not text and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


class _Channel:
    """What ``HTTPConnection`` needs of a socket, over anything with ``recv``, ``sendall`` and ``settimeout``.

    paramiko's own file objects lack ``peek`` and ``read1``, which ``http.client`` uses for chunked answers.
    """

    def __init__(self, channel: socket.socket, ends: float) -> None:
        self._channel = channel
        self._ends = ends

    def sendall(self, data: bytes) -> None:
        self._channel.settimeout(self._left())
        self._channel.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Left to the owner: ``http.client`` closes before the body is read."""

    def receive_into(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        self._channel.settimeout(self._left())
        data = self._channel.recv(len(view))
        view[: len(data)] = data
        return len(data)

    def _left(self) -> float:
        left = self._ends - monotonic()
        if left <= 0:
            raise TimeoutError("deadline")
        return left


class _Reader(io.RawIOBase):
    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._channel.receive_into(buffer)
