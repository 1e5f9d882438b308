"""A router for several vLLM servers, of Python's standard library alone: it is there wherever vLLM is.

Each request goes to the living server that has the fewest in hand. Answers pass through piece by piece, as they come.
A request is tried on another server only as long as the client has been sent nothing. A server that refuses
connections, or whose /health fails a few times, gets no requests until it is well again. Its own paths are /health and
/readiness (200 while a server lives), and /metrics; all else is the servers'. Headers pass, the API key among them.
SIGTERM ends it when the requests in hand are answered.

It runs as ``python3 /qnext/router.py --host 0.0.0.0 --port 8000 --worker-urls http://192.0.2.1:8100 …``.
"""

# ruff: noqa: UP041 -- images with Python 3.10 have two kinds of TimeoutError.

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import time
from urllib.parse import urlsplit

LOG = logging.getLogger("router")
HEAD_LIMIT = 65536
PIECE = 65536
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate te trailer transfer-encoding upgrade expect".split()
)
REASONS = {400: "Bad Request", 408: "Request Timeout", 413: "Content Too Large", 431: "Request Header Fields Too Large",
           502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}  # fmt: skip
LOST = (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError, ValueError)
"""What reading from a server may raise where it is gone, or is none."""


class Refused(Exception):
    """An answer of the router's own."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Message:
    """The head of a request or an answer: its first line's three words, and headers in their order."""

    def __init__(self, raw: bytes) -> None:
        first, *lines = raw.rstrip(b"\r\n").split(b"\r\n")
        words = first.split(b" ", 2)
        if len(words) < 2 or any(line[:1] in b" \t" or b":" not in line for line in lines):
            raise ValueError("malformed head")
        self.words = [*words, b""][:3]
        pairs = (line.split(b":", 1) for line in lines)
        self.headers = [(name.strip(), value.strip()) for name, value in pairs]

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]

    def get(self, name: bytes) -> bytes:
        return b",".join(self.all(name)).lower()

    @property
    def chunked(self) -> bool:
        return self.get(b"transfer-encoding").endswith(b"chunked")

    @property
    def length(self) -> int | None:
        """Bytes of the body; None where no header says. Raises ValueError for one that is no number."""
        given = set(self.all(b"content-length"))
        if len(given) > 1 or (given and self.all(b"transfer-encoding")):
            raise ValueError("two lengths")
        text = given.pop() if given else b""
        if text and not text.isdigit():
            raise ValueError("no length")
        return int(text) if text else None

    def passed(self) -> list[bytes]:
        """The header lines that go on to the other side."""
        named = {name.strip() for name in self.get(b"connection").split(b",")}
        dropped = HOP_BY_HOP | named
        return [name + b": " + value for name, value in self.headers if name.lower() not in dropped]


class Worker:
    """A server: its address, whether it lives, and what it has in hand."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise argparse.ArgumentTypeError(f"{url} is no URL such as http://192.0.2.1:8100")
        self.url = f"http://{parts.netloc}"
        self.host, self.port, self.netloc = parts.hostname, parts.port, parts.netloc.encode()
        self.alive = False
        self.failures = 0
        self.in_flight = 0
        self.requests = 0
        self.errors = 0

    def well(self) -> None:
        if not self.alive:
            LOG.info("%s is up", self.url)
        self.alive, self.failures = True, 0

    def ill(self, reason: object, failures: int) -> None:
        """It failed; after ``failures`` times in a row it counts as dead."""
        self.failures += 1
        if self.alive and self.failures >= failures:
            LOG.warning("%s is down: %s", self.url, reason or type(reason).__name__)
            self.alive = False

    async def open(self, timeout: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connecting = asyncio.open_connection(self.host, self.port, limit=HEAD_LIMIT)
        return await asyncio.wait_for(connecting, timeout)


class Router:
    """Clients on one side, workers on the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.workers: list[Worker] = options.worker_urls
        self.turn = 0
        self.retries = 0
        self.stopping = False
        self.clients: dict[asyncio.Task[None], bool] = {}

    # ---- workers

    def choose(self, tried: list[Worker]) -> Worker | None:
        """The living worker that has the fewest requests in hand; among equals the next in turn."""
        self.turn += not tried
        order = self.workers[self.turn % len(self.workers) :] + self.workers[: self.turn % len(self.workers)]
        alive = [worker for worker in order if worker.alive and worker not in tried]
        return min(alive, key=lambda worker: worker.in_flight, default=None)

    async def watch(self, worker: Worker) -> None:
        """Look at a worker's /health for as long as the router runs."""
        while True:
            await self.look(worker)
            await asyncio.sleep(self.options.health_interval)

    async def look(self, worker: Worker) -> None:
        try:
            status = await asyncio.wait_for(self._health(worker), self.options.health_timeout)
        except ConnectionRefusedError as error:
            worker.ill(error.strerror, 1)
        except LOST as error:
            worker.ill(error or "no answer from /health", self.options.health_failures)
        else:
            if status == b"200":
                worker.well()
            else:
                worker.ill(f"/health answers {status.decode(errors='replace')}", 1)

    async def _health(self, worker: Worker) -> bytes:
        reader, writer = await worker.open(self.options.connect_timeout)
        with contextlib.closing(writer):
            writer.write(b"GET /health HTTP/1.1\r\nHost: " + worker.netloc + b"\r\nConnection: close\r\n\r\n")
            return Message(await reader.readuntil(b"\r\n\r\n")).words[1]

    # ---- clients

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, which may bring several requests one after the other."""
        task = asyncio.current_task()
        assert task is not None
        self.clients[task] = False
        try:
            if len(self.clients) > self.options.max_connections:
                raise Refused(503, "too many connections")
            while not self.stopping and await self._exchange(task, reader, writer):
                continue
        except Refused as refused:
            answer(writer, refused.status, {"error": {"message": str(refused), "code": refused.status}})
        except (ConnectionError, EOFError, asyncio.TimeoutError, asyncio.CancelledError):
            pass
        finally:
            del self.clients[task]
            with contextlib.suppress(Exception):
                writer.close()
                await writer.wait_closed()

    async def _exchange(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One request and its answer. Whether the connection can bring another."""
        request = await self._head(reader)
        if request is None:
            return False
        self.clients[task] = True
        body = await self._body(request, reader, writer)
        _, target, version = request.words
        path = target.partition(b"?")[0]
        keep = version == b"HTTP/1.1" and b"close" not in request.get(b"connection")
        if path in (b"/health", b"/readiness"):
            self._tell_health(writer, keep=keep)
        elif path == b"/metrics":
            answer(writer, 200, self.metrics(), kind="text/plain; version=0.0.4", keep=keep)
        else:
            keep = await self._route(request, body, reader, writer) and keep
        await writer.drain()
        self.clients[task] = False
        return keep

    async def _head(self, reader: asyncio.StreamReader) -> Message | None:
        """The next request's head; None where the client has gone, or says nothing."""
        try:
            raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.options.client_timeout)
            message = Message(raw.lstrip(b"\r\n"))
            message.length  # noqa: B018  -- raises for a bad one
        except asyncio.LimitOverrunError:
            raise Refused(431, f"the head is over {HEAD_LIMIT} bytes") from None
        except ValueError as error:
            raise Refused(400, str(error)) from None
        except (asyncio.IncompleteReadError, asyncio.TimeoutError):
            return None
        if not message.words[2].startswith(b"HTTP/1."):
            raise Refused(400, "not HTTP/1.1")
        return message

    async def _body(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The whole body: it may have to be sent twice."""
        if request.get(b"expect") == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            reading = self._chunks(reader) if request.chunked else self._plain(reader, request.length or 0)
            return await asyncio.wait_for(reading, self.options.client_timeout)
        except asyncio.TimeoutError:
            raise Refused(408, "the body did not come in time") from None
        except ValueError:
            raise Refused(400, "malformed chunks") from None

    async def _plain(self, reader: asyncio.StreamReader, length: int) -> bytes:
        if length > self.options.max_body:
            raise Refused(413, f"the body is over {self.options.max_body} bytes")
        return await reader.readexactly(length)

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            if size < 0 or len(body) + size > self.options.max_body:
                raise Refused(413, f"the body is over {self.options.max_body} bytes")
            body += (await reader.readexactly(size + 2))[:-2]
        while await reader.readuntil(b"\r\n") != b"\r\n":
            continue
        return bytes(body)

    async def _route(
        self, request: Message, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Hand the request to one worker after the other until one answers."""
        tried: list[Worker] = []
        while worker := self.choose(tried):
            tried.append(worker)
            self.retries += len(tried) > 1
            worker.in_flight += 1
            worker.requests += 1
            try:
                return await self._pass(worker, request, body, reader, writer, last=self.choose(tried) is None)
            except _NotSent as failure:
                worker.errors += 1
                worker.ill(failure, 1 if failure.refused else self.options.health_failures)
            finally:
                worker.in_flight -= 1
        raise Refused(502 if tried else 503, "no server answers" if tried else "no server is up")

    async def _pass(
        self,
        worker: Worker,
        request: Message,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        last: bool,
    ) -> bool:
        """Ask one worker. Raises ``_NotSent`` where another may be asked instead."""
        try:
            upstream, out = await worker.open(self.options.connect_timeout)
        except LOST as error:
            raise _NotSent(error, refused=True) from None
        with contextlib.closing(out):
            gone = asyncio.ensure_future(until_gone(reader))
            asking = asyncio.ensure_future(self._ask(worker, upstream, out, request, body))
            relaying: asyncio.Future[bool] | None = None
            try:
                await asyncio.wait({gone, asking}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    raise ConnectionResetError("the client has gone")
                head = asking.result()
                if head.words[1] == b"503" and not last:
                    raise _NotSent("answers 503")
                relaying = asyncio.ensure_future(self._relay(head, request, upstream, writer))
                await asyncio.wait({gone, relaying}, return_when=asyncio.FIRST_COMPLETED)
                if not relaying.done():
                    raise ConnectionResetError("the client has gone")
                return relaying.result()
            finally:
                for task in (gone, asking, relaying):
                    if task is not None:
                        task.cancel()

    async def _ask(
        self,
        worker: Worker,
        upstream: asyncio.StreamReader,
        out: asyncio.StreamWriter,
        request: Message,
        body: bytes,
    ) -> Message:
        """Send the request; the answer's head. Raises ``_NotSent``."""
        own = (b"host", b"content-length")
        lines = [line for line in request.passed() if line.split(b":")[0].lower() not in own]
        lines += [b"Host: " + worker.netloc, b"Connection: close"]
        if body or request.words[0] not in (b"GET", b"HEAD", b"OPTIONS", b"DELETE"):
            lines.append(b"Content-Length: %d" % len(body))
        first = b" ".join([*request.words[:2], b"HTTP/1.1"])
        try:
            out.write(b"\r\n".join([first, *lines, b"", body]))
            await out.drain()
            while True:
                raw = await asyncio.wait_for(upstream.readuntil(b"\r\n\r\n"), self.options.idle_timeout)
                head = Message(raw)
                if not head.words[1].startswith(b"1"):
                    return head
        except asyncio.TimeoutError:
            raise Refused(504, f"{worker.url} did not answer in {self.options.idle_timeout:.0f} s") from None
        except LOST as error:
            raise _NotSent(error) from None

    async def _relay(
        self, head: Message, request: Message, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Pass an answer on as it comes. Whether the client's connection can be used again; where the worker breaks
        off, it is cut, so that the client knows that something is missing."""
        old = request.words[2] != b"HTTP/1.1"
        bodiless = request.words[0] == b"HEAD" or head.words[1] in (b"204", b"304")
        ends = bodiless or head.chunked or head.length is not None
        lines = head.passed()
        if head.chunked and not old:
            lines.append(b"Transfer-Encoding: chunked")
        keep = ends and not (old and head.chunked)
        lines.append(b"Connection: keep-alive" if keep and not self.stopping else b"Connection: close")
        writer.write(b"\r\n".join([b" ".join([b"HTTP/1.1", *head.words[1:]]), *lines, b"", b""]))
        try:
            if not bodiless:
                async for piece in pieces(head, upstream, self.options.idle_timeout, dechunked=old):
                    writer.write(piece)
                    await writer.drain()
        except LOST as error:
            LOG.warning("an answer broke off: %s", error or type(error).__name__)
            writer.transport.abort()
            return False
        return keep

    # ---- what it tells of itself

    def _tell_health(self, writer: asyncio.StreamWriter, *, keep: bool) -> None:
        workers = [{"url": w.url, "alive": w.alive, "in_flight": w.in_flight} for w in self.workers]
        well = any(worker.alive for worker in self.workers)
        body = {"status": "ok" if well else "no server is up", "workers": workers}
        answer(writer, 200 if well else 503, body, keep=keep)

    def metrics(self) -> str:
        """Counters in Prometheus' text format."""
        lines = []
        for name, kind, value in (
            ("worker_up", "gauge", lambda w: int(w.alive)),
            ("in_flight", "gauge", lambda w: w.in_flight),
            ("requests_total", "counter", lambda w: w.requests),
            ("errors_total", "counter", lambda w: w.errors),
        ):
            lines.append(f"# TYPE qnext_router_{name} {kind}")
            lines += [f'qnext_router_{name}{{worker="{w.url}"}} {value(w)}' for w in self.workers]
        lines += ["# TYPE qnext_router_retries_total counter", f"qnext_router_retries_total {self.retries}"]
        return "\n".join(lines) + "\n"

    # ---- its life

    async def run(self, stop: asyncio.Event, started: asyncio.Future[int] | None = None) -> None:
        """Serve until ``stop``; then answer what is in hand, for at most ``--drain`` seconds."""
        watchers = [asyncio.ensure_future(self.watch(worker)) for worker in self.workers]
        options = self.options
        server = await asyncio.start_server(self.serve, options.host, options.port, limit=HEAD_LIMIT, backlog=1024)
        port = server.sockets[0].getsockname()[1]
        LOG.info("listening on %s:%s before %s", options.host, port, " ".join(w.url for w in self.workers))
        if started is not None:
            started.set_result(port)
        await stop.wait()
        self.stopping = True
        server.close()
        for task, busy in list(self.clients.items()):
            if not busy:
                task.cancel()
        until = time.monotonic() + options.drain
        while self.clients and time.monotonic() < until:
            await asyncio.sleep(0.05)
        left = [*watchers, *self.clients]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        LOG.info("stopped")


class _NotSent(Exception):
    """A worker failed before the client was sent anything."""

    def __init__(self, reason: object, *, refused: bool = False) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.refused = refused


async def until_gone(reader: asyncio.StreamReader) -> None:
    """Returns when a client has closed its connection: its answer need not be made any more."""
    while not reader.at_eof():
        await asyncio.sleep(0.2)


async def pieces(head: Message, upstream: asyncio.StreamReader, timeout: float, *, dechunked: bool):
    """The bytes of an answer's body as they come, framed as the answer is."""
    if head.chunked:
        while True:
            line = await asyncio.wait_for(upstream.readuntil(b"\r\n"), timeout)
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            data = await asyncio.wait_for(upstream.readexactly(size + 2), timeout)
            yield data[:-2] if dechunked else line + data
        while (line := await asyncio.wait_for(upstream.readuntil(b"\r\n"), timeout)) != b"\r\n":
            continue
        yield b"" if dechunked else b"0\r\n\r\n"
        return
    left = head.length
    while left is None or left > 0:
        data = await asyncio.wait_for(upstream.read(PIECE if left is None else min(left, PIECE)), timeout)
        if not data:
            if left is not None:
                raise EOFError(f"{left} bytes are missing")
            return
        left = None if left is None else left - len(data)
        yield data


def answer(
    writer: asyncio.StreamWriter, status: int, body: object, *, kind: str = "application/json", keep: bool = False
) -> None:
    """A whole answer of the router's own."""
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'OK')}", f"Content-Type: {kind}", f"Content-Length: {len(data)}",
             f"Connection: {'keep-alive' if keep else 'close'}"]  # fmt: skip
    writer.write("\r\n".join([*lines, "", ""]).encode() + data)


def parsed(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="A router for several vLLM servers.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument(
        "--worker-urls", type=Worker, nargs="+", required=True, help="http://address:port of each server"
    )
    parser.add_argument("--health-interval", type=float, default=2.0, help="seconds between looks at a server")
    parser.add_argument("--health-timeout", type=float, default=5.0, help="seconds for an answer from /health")
    parser.add_argument("--health-failures", type=int, default=3, help="failures in a row until a server is dropped")
    parser.add_argument("--connect-timeout", type=float, default=3.0, help="seconds to connect to a server")
    parser.add_argument("--idle-timeout", type=float, default=3600.0, help="seconds without a byte from a server")
    parser.add_argument("--client-timeout", type=float, default=75.0, help="seconds for a client's head, and its body")
    parser.add_argument("--max-body", type=int, default=64 << 20, help="bytes of a request's body")
    parser.add_argument("--max-connections", type=int, default=4096, help="connections of clients at a time")
    parser.add_argument("--drain", type=float, default=50.0, help="seconds to answer what is in hand after SIGTERM")
    return parser.parse_args(argv)


async def main(argv: list[str]) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Router(parsed(argv)).run(stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(main(sys.argv[1:]))
    except OSError as error:
        sys.exit(f"router: {error}")
