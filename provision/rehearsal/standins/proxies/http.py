"""What proxies have in common: listening on the node, asking a backend, and passing its answer on as it comes."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

from provision.rehearsal.node import Node
from provision.rehearsal.standins.sockets import install

FAILURES = (OSError, http.client.HTTPException)
_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}
_PIECE = 65536


class Backend(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class Request(NamedTuple):
    """A client's request, read to its end."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        """The body as an object. Raises ValueError."""
        value = json.loads(self.body)
        if not isinstance(value, dict):
            raise ValueError("not an object")
        return value

    def with_json(self, value: dict[str, object]) -> Request:
        return self._replace(body=json.dumps(value).encode())


class Exchange(BaseHTTPRequestHandler):
    """One connection of a client: ``server.handle_it`` answers each request through it."""

    protocol_version = "HTTP/1.1"
    sys_version = ""
    server: Front
    begun = False
    """Whether the client has been sent something of an answer."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        """The server's own words are enough."""

    def version_string(self) -> str:
        return self.server.name

    def answer(self, status: int, body: bytes | dict[str, object], kind: str = "application/json") -> None:
        """A whole answer; where one has begun already, it can only be broken off."""
        if self.begun:
            self.close_connection = True
            return
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def relay(self, answer: http.client.HTTPResponse) -> None:
        """Pass a backend's answer on, each piece when it comes."""
        self.begun = True
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP, "server", "date"):
                self.send_header(name, value)
        length = answer.getheader("content-length")
        self.send_header(*(("content-length", length) if length else ("transfer-encoding", "chunked")))
        self.end_headers()
        while data := answer.read1(_PIECE):
            self.wfile.write(data if length else f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()
        if not length:
            self.wfile.write(b"0\r\n\r\n")

    def _serve(self) -> None:
        self.begun = False
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        try:
            self.server.handle_it(self, Request(self.command, self.path, headers, body))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except FAILURES:
            # The backend broke off in the middle of an answer: so does this one.
            self.close_connection = True


class Front(ThreadingHTTPServer):
    """A proxy's own server; ``name`` is what it calls itself. Raises OSError for an address that is taken or foreign."""

    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, host: str, port: int, name: str, handle_it: Callable[[Exchange, Request], None]) -> None:
        self.name = name
        self.handle_it = handle_it
        super().__init__((host, port), Exchange)

    def server_bind(self) -> None:
        """Without the look-up of the machine's name that the library does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)


def use_the_nodes_network(node: Node) -> None:
    """Sockets of this process are the node's from now on."""
    install(node)


def backend_of(url: str) -> Backend:
    """Raises ValueError for what is no ``http://host:port``."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"invalid URL: {url}")
    return Backend(parts.hostname, parts.port or 80)


def ask(backend: Backend, request: Request, *, timeout: float = 600.0) -> http.client.HTTPResponse:
    """The beginning of a backend's answer. Raises FAILURES."""
    connection = http.client.HTTPConnection(backend.host, backend.port, timeout=timeout)
    connection.request(request.method, request.path, request.body or None, dict(request.headers))
    return connection.getresponse()


def healthy(backend: Backend, path: str = "/health", *, timeout: float = 2.0) -> bool:
    """Whether a server says that it is well."""
    try:
        answer = ask(backend, Request("GET", path, {}, b""), timeout=timeout)
        answer.read()
    except FAILURES:
        return False
    return answer.status == 200
