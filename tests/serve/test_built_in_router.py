"""The built-in router with real sockets: servers that stream, refuse, break off and die, and clients that leave."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from provision.resources import shipped

Answer = Callable[[bytes, bytes, asyncio.StreamWriter], Awaitable[None]]


def load() -> ModuleType:
    path: Path = shipped("templates") / "router" / "router.py"
    spec = importlib.util.spec_from_file_location("qnext_built_in_router", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module


router = load()


class Server:
    """A server of one connection a request; ``answer`` writes what it says."""

    def __init__(self, answer: Answer | None = None, *, health: int = 200) -> None:
        self.answer, self.health = answer or self.say_own_port, health
        self.seen: list[tuple[bytes, bytes]] = []
        self.port = 0
        self.open = 0

    async def say_own_port(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        text = str(self.port).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Own: yes\r\n\r\n%b" % (len(text), text))

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /health "):
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % self.health)
                return
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
            body = await reader.readexactly(length)
            self.seen.append((head, body))
            await self.answer(head, body, writer)
            await writer.drain()
        except (ConnectionError, EOFError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def running(*servers: Server, **options: float) -> AsyncIterator[tuple[Any, int]]:
    """The router before ``servers``, all looked at once; yields it and its port."""
    for server in servers:
        await server.start()
    words = [
        "--port",
        "0",
        "--worker-urls",
        *(f"http://127.0.0.1:{s.port}" for s in servers),
        "--health-interval",
        "0.05",
    ]
    words += [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    made = router.Router(router.parsed(words))
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
    life = asyncio.ensure_future(made.run(stop, started))
    port = await started
    await asyncio.gather(*(made.look(worker) for worker in made.workers))
    try:
        yield made, port
    finally:
        stop.set()
        await life
        for server in servers:
            await server.stop()


async def ask(port: int, request: bytes) -> bytes:
    """The whole answer to a request, after which the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionError:
        return b"(reset)"
    finally:
        writer.close()


def get(path: str = "/v1/models", *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]).encode()


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /v1/completions HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def content(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))


def test_requests_are_spread_and_headers_pass() -> None:
    async def test() -> None:
        one, other = Server(), Server()
        async with running(one, other) as (_, port):
            answers = [await ask(port, post(b"{}", "Authorization: Bearer sk-1", "X-Request-Id: 7")) for _ in range(4)]
            assert {content(answer) for answer in answers} == {str(one.port).encode(), str(other.port).encode()}
            assert len(one.seen) == len(other.seen) == 2
            assert all(b"\r\nX-Own: yes" in answer for answer in answers)
            head, body = one.seen[0]
            assert body == b"{}"
            assert b"\r\nAuthorization: Bearer sk-1\r\n" in head
            assert b"\r\nX-Request-Id: 7\r\n" in head
            assert head.count(b"Host:") == 1
            assert b"Host: 127.0.0.1:%d" % one.port in head

    run(test)


def test_the_least_busy_server_is_asked() -> None:
    async def test() -> None:
        free = asyncio.Event()

        async def slow(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            await free.wait()
            await quick.say_own_port(head, body, writer)

        busy, quick = Server(slow), Server()
        async with running(busy, quick) as (made, port):
            waiting = [asyncio.ensure_future(ask(port, get())) for _ in range(2)]
            while not busy.seen:
                await asyncio.sleep(0.01)
            for _ in range(5):
                await ask(port, get())
            assert len(busy.seen) == 1
            assert len(quick.seen) == 6
            assert [worker.in_flight for worker in made.workers] == [1, 0]
            free.set()
            assert [status(answer) for answer in await asyncio.gather(*waiting)] == [200, 200]

    run(test)


def test_a_stream_passes_as_it_comes() -> None:
    async def test() -> None:
        more = asyncio.Event()

        async def stream(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(b"7\r\ndata: a\r\n")
            await writer.drain()
            await more.wait()
            writer.write(b"7\r\ndata: b\r\n0\r\n\r\n")

        async with running(Server(stream)) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Transfer-Encoding: chunked" in head
            assert await reader.readexactly(12) == b"7\r\ndata: a\r\n"
            assert not more.is_set()
            more.set()
            assert await reader.readexactly(17) == b"7\r\ndata: b\r\n0\r\n\r\n"
            writer.write(b"GET /health HTTP/1.1\r\n\r\n")
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n"), "the connection is used again"
            writer.close()
            old = await ask(port, b"GET / HTTP/1.0\r\n\r\n")
            assert content(old) == b"data: adata: b", "HTTP/1.0 knows no chunks"

    run(test)


def test_another_server_is_asked_while_nothing_was_sent() -> None:
    async def test() -> None:
        async def hang_up(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async def unwilling(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

        good = Server()
        async with running(Server(hang_up), Server(unwilling), good) as (made, port):
            answers = [await ask(port, post(b"{}")) for _ in range(3)]
            assert [status(answer) for answer in answers] == [200] * 3
            assert len(good.seen) == 3
            assert made.retries >= 2

    run(test)


def test_the_last_servers_refusal_is_the_answer() -> None:
    async def test() -> None:
        async def unwilling(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")

        async with running(Server(unwilling)) as (_, port):
            answer = await ask(port, get())
            assert (status(answer), content(answer)) == (503, b"busy")

    run(test)


def test_what_was_begun_is_broken_off_and_never_repeated() -> None:
    async def test() -> None:
        async def half(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        broken, good = Server(half), Server()
        async with running(broken, good) as (_, port):
            answers = [await ask(port, get()) for _ in range(2)]
            assert len(broken.seen) == len(good.seen) == 1
            cut = next(answer for answer in answers if not answer.endswith(str(good.port).encode()))
            assert cut == b"(reset)" or content(cut) == b"half"

    run(test)


def test_a_dead_server_gets_nothing_until_it_is_back() -> None:
    async def test() -> None:
        dying, good = Server(), Server()
        async with running(dying, good) as (made, port):
            await dying.stop()
            answers = [await ask(port, get()) for _ in range(4)]
            assert [status(answer) for answer in answers] == [200] * 4
            assert [worker.alive for worker in made.workers] == [False, True]
            health = json.loads(content(await ask(port, get("/readiness"))))
            assert [worker["alive"] for worker in health["workers"]] == [False, True]
            await dying.start()
            while not made.workers[0].alive:
                await asyncio.sleep(0.02)

    run(test)


@pytest.mark.parametrize("ill", [500, 503])
def test_without_a_living_server_it_says_so_at_once(ill: int) -> None:
    async def test() -> None:
        async with running(Server(health=ill)) as (_, port):
            answers = [await ask(port, get("/health")), await ask(port, get())]
            assert [status(answer) for answer in answers] == [503, 503]
            assert b"no server is up" in answers[1]

    run(test)


def test_a_client_that_leaves_ends_its_request() -> None:
    async def test() -> None:
        async def endless(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

        server = Server(endless)
        async with running(server) as (made, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get())
            await reader.readuntil(b"1\r\nx\r\n")
            assert made.workers[0].in_flight == 1
            writer.close()
            while made.workers[0].in_flight or server.open:
                await asyncio.sleep(0.02)

    run(test)


def test_metrics_count() -> None:
    async def test() -> None:
        async with running(server := Server()) as (_, port):
            await ask(port, get())
            text = content(await ask(port, get("/metrics"))).decode()
            assert f'qnext_router_requests_total{{worker="http://127.0.0.1:{server.port}"}} 1\n' in text
            assert f'qnext_router_worker_up{{worker="http://127.0.0.1:{server.port}"}} 1\n' in text

    run(test)


BAD = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "HTTP/2": (b"GET / HTTP/2.0\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "length and chunks": (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "negative length": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "bad chunk": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "long body": (b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n", 413),
    "long chunks": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n", 413),
    "long head": (b"GET / HTTP/1.1\r\nA: " + b"x" * 70_000 + b"\r\n\r\n", 431),
}


def test_bad_requests_reach_no_server() -> None:
    async def test() -> None:
        async with running(server := Server(), max_body=1000) as (_, port):
            found = {name: status(await ask(port, request)) for name, (request, _) in BAD.items()}
            assert found == {name: wanted for name, (_, wanted) in BAD.items()}
            assert server.seen == []

    run(test)


def test_a_chunked_body_reaches_the_server_whole() -> None:
    async def test() -> None:
        async with running(server := Server()) as (_, port):
            head = b"POST / HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
            answer = await ask(port, head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
            assert server.seen[0][1] == b"abcde"
            assert b"Expect" not in server.seen[0][0]

    run(test)


def test_what_is_in_hand_is_answered_before_it_stops() -> None:
    async def test() -> None:
        free = asyncio.Event()

        async def slow(head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
            await free.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        server = Server(slow)
        async with running(server) as (made, port):
            idle = await asyncio.open_connection("127.0.0.1", port)
            asked = asyncio.ensure_future(ask(port, b"GET / HTTP/1.1\r\n\r\n"))
            while not server.seen:
                await asyncio.sleep(0.01)
            made.stopping = True
            free.set()
            assert content(await asked) == b"ok", "and the connection ends"
        assert await idle[0].read() == b""
        idle[1].close()

    run(test)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "https://a:1", "http://a", "ftp://a:1"])
def test_an_url_that_is_none_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        router.parsed(["--port", "1", "--worker-urls", url])
    assert ended.value.code == 2
    assert "is no URL such as" in capsys.readouterr().err
