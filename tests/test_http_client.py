"""The HTTP client against real servers on loopback, through a transport that opens plain TCP connections."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from provision.clock import monotonic
from provision.errors import ConnectionLost
from provision.http import Response, error_message
from provision.http_client import TunnelHttp


class Tunnel:
    """The one method of a transport that the client uses."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.opened: list[socket.socket] = []

    def open_tcp(self, host: str, port: int, *, timeout: float) -> socket.socket:
        if self.error:
            raise self.error
        self.opened.append(socket.create_connection((host, port), timeout=timeout))
        return self.opened[-1]


@contextmanager
def server(answer: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    """A server that hands each connection, and the request it read, to ``answer``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, answer))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(listener: socket.socket, answer: Callable[[socket.socket, bytes], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            answer(connection, _request(connection))


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def fixed(raw: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, request: connection.sendall(raw)


def client(port: int) -> TunnelHttp:
    return TunnelHttp(Tunnel(), port)  # type: ignore[arg-type]


def chunked(*parts: bytes) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def test_get_reads_status_body_and_headers() -> None:
    with server(fixed(b'HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 8\r\n\r\n{"a": 1}')) as port:
        answer = client(port).get("/v1/models")
    assert (answer.status, answer.ok, answer.json(), answer.problem()) == (200, True, {"a": 1}, "")
    assert answer.headers is not None
    assert answer.headers["x-one"] == "1"


def test_post_sends_json_and_the_token_and_ignores_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    seen: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with server(answer) as port:
        assert client(port).post("/v1/chat/completions", {"model": "m"}, token="key").status == 204
    assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"Authorization: Bearer key" in seen[0]
    assert seen[0].endswith(b'{"model": "m"}')


def test_chunked_answers_are_joined() -> None:
    with server(fixed(chunked(b"one", b"two"))) as port:
        assert client(port).get("/").text() == "onetwo"


def test_a_stream_yields_the_data_of_its_events() -> None:
    parts = (b'data: {"n"', b": 1}\n\n: a comment\n\ndata: two\r\n", b"data: lines\r\n\r\n", b"data: [DONE]\n\n")
    with server(fixed(chunked(*parts))) as port:
        assert list(client(port).stream("/", {})) == ['{"n": 1}', "two\nlines", "[DONE]"]


def test_a_stream_arrives_piece_by_piece() -> None:
    first_read = threading.Event()

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n")
        first_read.wait(5)
        connection.sendall(b"data: 2\n\n")

    with server(answer) as port:
        events = client(port).stream("/", {})
        assert next(events) == "1"
        first_read.set()
        assert list(events) == ["2"]


def test_a_refused_stream_ends_with_the_error_as_its_payload() -> None:
    body = b'{"error": {"message": "The model `x` does not exist."}}'
    with server(fixed(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))) as port:
        (payload,) = client(port).stream("/", {})
    assert json.loads(payload) == {"error": {"message": "HTTP 404: The model `x` does not exist.", "code": 404}}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "speaks no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "broke off in the middle"),
    ],
)
def test_what_a_server_does_wrong_is_said_not_raised(raw: bytes, says: str) -> None:
    with server(fixed(raw)) as port:
        answer = client(port).get("/health")
    assert answer.status == 0
    assert says in answer.problem()


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    answer = client(port).get("/health")
    assert (answer.status, answer.error) == (0, f"nothing listens on 127.0.0.1:{port}")


def test_the_deadline_covers_a_server_that_drips() -> None:
    stop = threading.Event()

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not stop.wait(0.02):
            try:
                connection.sendall(b".")
            except OSError:
                return

    with server(answer) as port:
        started = monotonic()
        got = client(port).get("/", timeout=0.3)
        stop.set()
    assert "gave no answer within 0.3 s" in got.error
    assert monotonic() - started < 2


def test_forbidden_forwarding_is_told_with_its_remedy() -> None:
    tunnel = Tunnel(OSError("ChannelException(1, 'Administratively prohibited')"))
    answer = TunnelHttp(tunnel, 8000).get("/health")  # type: ignore[arg-type]
    assert "forbids TCP forwarding" in answer.error
    assert "AllowTcpForwarding" in answer.hint


def test_a_broken_connection_is_no_answer_of_the_server() -> None:
    with pytest.raises(ConnectionLost):
        TunnelHttp(Tunnel(ConnectionLost("gone")), 8000).get("/")  # type: ignore[arg-type]


def test_every_channel_is_closed() -> None:
    tunnel = Tunnel()
    with server(fixed(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")) as port:
        http = TunnelHttp(tunnel, port)  # type: ignore[arg-type]
        http.get("/")
        list(http.stream("/", {}))
    assert [opened.fileno() for opened in tunnel.opened] == [-1, -1]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "engine dead", "code": 500}}, "engine dead"),
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"object": "error", "message": "old vLLM", "code": 400}, "old vLLM"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, '[{"loc": ["body"], "msg": "field required"}]'),
        ({}, ""),
        ([1], ""),
        (None, ""),
    ],
)
def test_error_messages_of_all_shapes(body: object, message: str) -> None:
    assert error_message(body) == message


def test_a_body_that_is_no_json_is_none_and_still_shown() -> None:
    answer = Response(502, b"<html>\nBad Gateway</html>")
    assert answer.json() is None
    assert answer.problem() == "HTTP 502: <html> Bad Gateway</html>"
