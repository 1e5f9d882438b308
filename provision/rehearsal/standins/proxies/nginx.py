"""``nginx -c FILE -g 'daemon off;'``: it passes requests on as the configuration that it is given says.

Of the language: ``upstream`` blocks (``server`` with weight, max_fails, fail_timeout, backup, down; ``least_conn``),
``server`` blocks with ``listen``, and ``location`` with ``proxy_pass`` or ``return``. Other directives are known by name
and have no effect here; an unknown one ends it, as the real one.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from provision.clock import monotonic
from provision.rehearsal import wall
from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path
from provision.rehearsal.standins.net import bound_to_all
from provision.rehearsal.standins.packages import filesystem
from provision.rehearsal.standins.proxies.http import (
    FAILURES,
    Backend,
    Exchange,
    Front,
    Request,
    ask,
    use_the_nodes_network,
)

_VERSION = "1.27.5"
_DEFAULT = "/etc/nginx/nginx.conf"
_WORD = re.compile(r"\s+|#[^\n]*|\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'|([{};])|((?:\\.|[^\s;{}\"'\\])+)")
_KNOWN = re.compile(
    r"(access|client|error|fastcgi|keepalive|log|lingering|multi|proxy|resolver|reset|send|server|ssl|tcp|types|underscores|uwsgi"
    r"|scgi|worker|large|auth|stub|gzip|default|chunked|thread)_\w+|aio|allow|charset|daemon|deny|events|gzip|http|include|ip_hash"
    r"|keepalive|least_conn|listen|location|map|master_process|pid|random|return|root|sendfile|server|set|types|upstream|use|user"
    r"|zone"
)
_BAD_GATEWAY = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
_IMPATIENT = 60.0


class Emergency(Exception):
    """What nginx says before it doesn't start."""


@dataclass(frozen=True, slots=True)
class Directive:
    """``name args…;`` or, with ``inner``, a block; ``line`` in its file."""

    name: str
    args: tuple[str, ...]
    line: int
    inner: tuple[Directive, ...] = ()

    def all(self, name: str) -> list[Directive]:
        return [one for one in self.inner if one.name == name]

    def one(self, name: str, default: str = "") -> str:
        return next((one.args[0] for one in self.all(name) if one.args), default)


@dataclass(slots=True)
class Peer:
    """A server of an upstream; ``fails`` since ``since``, unused until ``back`` when there were too many."""

    backend: Backend
    weight: int = 1
    max_fails: int = 1
    fail_timeout: float = 10.0
    backup: bool = False
    down: bool = False
    fails: int = 0
    since: float = 0.0
    back: float = 0.0
    busy: int = 0


@dataclass(slots=True)
class Upstream:
    """A group of peers, in turn by weight, or the least busy first."""

    name: str
    peers: list[Peer]
    least: bool = False
    turn: Iterator[int] = field(default_factory=itertools.count)

    def order(self) -> list[Peer]:
        """Peers as they are to be tried for the next request."""
        slots = [peer for peer in self.peers for _ in range(peer.weight) if not peer.backup]
        at = next(self.turn) % max(1, len(slots))
        wanted = list(dict.fromkeys(map(id, [*slots[at:], *slots[:at]])))
        by_id = {id(peer): peer for peer in self.peers}
        found = [by_id[key] for key in wanted] + [peer for peer in self.peers if peer.backup]
        alive = [peer for peer in found if not peer.down and peer.back <= monotonic()]
        return sorted(alive, key=lambda peer: peer.busy / peer.weight) if self.least else alive


def main(node: Node, name: str, argv: list[str]) -> int:
    """Serve until told to stop; ``-t`` checks the configuration, ``-v`` tells the version."""
    given = dict(zip(argv, [*argv[1:], ""], strict=True))
    if "-v" in argv or "-V" in argv:
        sys.stderr.write(f"nginx version: nginx/{_VERSION}\n")
        return 0
    path = given.get("-c", _DEFAULT)
    use_the_nodes_network(node)
    try:
        http = _read(path)
        upstreams = {one.name: one for one in map(_upstream, http.all("upstream"))}
        servers = [_Server(node, block, upstreams) for block in http.all("server")]
        if "-t" in argv:
            sys.stderr.write(
                f"nginx: the configuration file {path} syntax is ok\nnginx: configuration file {path} test is successful\n"
            )
            return 0
        fronts = [front for server in servers for front in server.listen()]
    except Emergency as error:
        sys.stderr.write(f"nginx: [emerg] {error}\n")
        if "-t" in argv:
            sys.stderr.write(f"nginx: configuration file {path} test failed\n")
        return 1
    return _serve(fronts)


def _serve(fronts: list[Front]) -> int:
    _log("notice", f"nginx/{_VERSION}")
    _log("notice", "start worker processes")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, _stop)
    for front in fronts:
        threading.Thread(target=front.serve_forever, args=(0.2,), daemon=True).start()
    while True:
        signal.pause()


class _Server:
    """A ``server`` block."""

    def __init__(self, node: Node, block: Directive, upstreams: dict[str, Upstream]) -> None:
        self._node = node
        self._block = block
        self._upstreams = upstreams
        places = [_Location(one, upstreams) for one in block.all("location")]
        self._locations = sorted(places, key=lambda place: -len(place.prefix))

    def listen(self) -> list[Front]:
        """Open every address. Raises ``Emergency``."""
        return [self._open(one.args[0]) for one in self._block.all("listen") if not one.args[0].startswith("[")]

    def _open(self, where: str) -> Front:
        host, _, port = where.rpartition(":")
        host = host if host not in ("", "*") else "0.0.0.0"
        number = int(port) if port.isdigit() else 80
        try:
            front = Front(host, number, "nginx", self._handle)
        except OSError as error:
            raise Emergency(f"bind() to {host}:{number} failed ({error.errno}: {error.strerror})") from None
        if host == "0.0.0.0":
            bound_to_all(self._node, number)
        return front

    def _handle(self, exchange: Exchange, request: Request) -> None:
        path = request.path.partition("?")[0]
        for place in self._locations:
            if path == place.prefix if place.exact else path.startswith(place.prefix):
                place.handle(exchange, request)
                return
        exchange.answer(404, b"404 Not Found", "text/html")


class _Location:
    """A ``location`` block."""

    def __init__(self, block: Directive, upstreams: dict[str, Upstream]) -> None:
        self.exact = block.args[0] == "="
        self.prefix = block.args[-1]
        self._block = block
        self._upstream = _passed_to(block, upstreams)

    def handle(self, exchange: Exchange, request: Request) -> None:
        if said := self._block.all("return"):
            words = said[0].args
            exchange.answer(int(words[0]), words[1].encode() if len(words) > 1 else b"", "text/plain")
            return
        if self._upstream is None:
            exchange.answer(404, b"404 Not Found", "text/html")
            return
        self._pass_on(exchange, self._with_path(request), self._upstream)

    def _with_path(self, request: Request) -> Request:
        """A path behind the upstream's name stands for what the location matched."""
        _, slash, path = self._block.one("proxy_pass").removeprefix("http://").partition("/")
        return request._replace(path=f"/{path}{request.path[len(self.prefix) :]}") if slash else request

    def _pass_on(self, exchange: Exchange, request: Request, upstream: Upstream) -> None:
        """Try one peer after the other; what was sent to a server that broke off is only sent again when it is safe."""
        timeout = _seconds(self._block.one("proxy_read_timeout"), _IMPATIENT)
        peers = upstream.order()
        if not peers:
            _log(
                "error",
                f'no live upstreams while connecting to upstream, upstream: "http://{upstream.name}{request.path}"',
            )
            _revive(upstream)
        for left, peer in reversed(list(enumerate(reversed(peers)))):
            peer.busy += 1
            try:
                answer = ask(peer.backend, request, timeout=timeout)
                if not left or f"http_{answer.status}" not in self._asks_another:
                    exchange.relay(answer)
                    return
                answer.read()
                error: BaseException = OSError(f"status {answer.status}")
            except FAILURES as problem:
                if exchange.begun:
                    raise
                error = problem
            finally:
                peer.busy -= 1
            _failed(peer, error, request)
            if not isinstance(error, ConnectionRefusedError) and request.method == "POST" and not self._repeats:
                break
        exchange.answer(502, _BAD_GATEWAY, "text/html")

    @property
    def _asks_another(self) -> tuple[str, ...]:
        return tuple(word for one in self._block.all("proxy_next_upstream") for word in one.args)

    @property
    def _repeats(self) -> bool:
        return "non_idempotent" in self._asks_another


def _failed(peer: Peer, error: BaseException, request: Request) -> None:
    """Too many failures within the time: the peer isn't asked for as long again."""
    number = getattr(error, "errno", None)
    what = f"connect() failed ({number}: {os.strerror(number)})" if number else "upstream prematurely closed connection"
    _log("error", f'{what} while connecting to upstream, request: "{request.method} {request.path}", upstream: '
                  f'"{peer.backend.url}{request.path}"')  # fmt: skip
    if monotonic() - peer.since > peer.fail_timeout:
        peer.fails, peer.since = 0, monotonic()
    peer.fails += 1
    if peer.max_fails and peer.fails >= peer.max_fails:
        peer.back = monotonic() + peer.fail_timeout


def _revive(upstream: Upstream) -> None:
    """When all peers are out, nginx forgets their failures."""
    for peer in upstream.peers:
        peer.fails, peer.back = 0, 0.0


def _passed_to(block: Directive, upstreams: dict[str, Upstream]) -> Upstream | None:
    url = block.one("proxy_pass")
    if not url:
        return None
    name = url.removeprefix("http://").partition("/")[0]
    if not url.startswith("http://"):
        raise Emergency(f"invalid URL prefix in {url}")
    return upstreams.get(name) or Upstream(name, [Peer(_backend(name, 80))])


def _upstream(block: Directive) -> Upstream:
    peers = [_peer(one) for one in block.all("server")]
    if not peers:
        raise Emergency(f'no servers are inside upstream "{block.args[0]}"')
    return Upstream(block.args[0], peers, least=bool(block.all("least_conn")))


def _peer(one: Directive) -> Peer:
    peer = Peer(_backend(one.args[0], 80))
    for word in one.args[1:]:
        name, _, value = word.partition("=")
        if name in ("weight", "max_fails"):
            setattr(peer, name, int(value))
        elif name == "fail_timeout":
            peer.fail_timeout = _seconds(value, 10.0)
        elif name in ("backup", "down"):
            setattr(peer, name, True)
        elif name not in ("max_conns", "slow_start", "resolve"):
            raise Emergency(f'invalid parameter "{word}"')
    return peer


def _backend(text: str, port: int) -> Backend:
    host, _, number = text.partition(":")
    if not re.fullmatch(r"[\w.-]+", host) or (number and not number.isdigit()):
        raise Emergency(f'host not found in upstream "{text}"')
    return Backend(host, int(number or port))


def _seconds(text: str, default: float) -> float:
    """``30s``, ``5m``, ``1h`` or plain seconds."""
    found = re.fullmatch(r"(\d+)(ms|s|m|h|d)?", text)
    return int(found[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0, "d": 86400.0}.get(found[2], 1.0) if found else default


def _read(path: str) -> Directive:
    """The ``http`` block of a file. Raises ``Emergency``."""
    top = _parse_file(path)
    found = [one for one in top if one.name == "http"]
    if not any(one.name == "events" for one in top):
        raise Emergency(f'no "events" section in configuration in {path}')
    return found[0] if found else Directive("http", (), 0)


def _parse_file(path: str) -> tuple[Directive, ...]:
    place = map_path(path, filesystem())
    place = filesystem() + path if place == path and path.startswith("/") else place
    try:
        with open(place, encoding="utf-8") as file:
            words = _words(file.read(), path)
    except OSError as error:
        raise Emergency(f'open() "{path}" failed ({error.errno}: {error.strerror})') from None
    found = _block(words, path, top=True)
    return tuple(found)


def _words(text: str, path: str) -> Iterator[tuple[str, bool, int]]:
    """Words, whether each is a sign of the language, and its line."""
    at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise Emergency(f"unexpected end of file in {path}:{text.count(chr(10), 0, at) + 1}")
        line = text.count("\n", 0, at) + 1
        if match[3]:
            yield match[3], True, line
        elif (word := next((w for w in (match[1], match[2], match[4]) if w is not None), None)) is not None:
            yield re.sub(r"\\(.)", r"\1", word), False, line
        at = match.end()


def _block(words: Iterator[tuple[str, bool, int]], path: str, *, top: bool) -> Iterator[Directive]:
    """The directives up to the block's end."""
    found: list[str] = []
    line = 0
    for word, is_sign, line in words:
        if not is_sign:
            found.append(word)
        elif word == "}":
            if found or top:
                raise Emergency(f'unexpected "}}" in {path}:{line}')
            return
        elif not found:
            raise Emergency(f'unexpected "{word}" in {path}:{line}')
        else:
            name, args = found[0], tuple(found[1:])
            free = name in ("types", "map")
            if not _KNOWN.fullmatch(name):
                raise Emergency(f'unknown directive "{name}" in {path}:{line}')
            inner = tuple(_free(words) if free else _block(words, path, top=False)) if word == "{" else ()
            yield Directive(name, args, line, inner)
            found = []
    if found or not top:
        raise Emergency(
            f"unexpected end of file, expecting {';' if found else '}'!r} in {path}:{line}".replace("'", '"')
        )


def _free(words: Iterator[tuple[str, bool, int]]) -> Iterator[Directive]:
    """A block whose content is a table, not directives."""
    for word, is_sign, _ in words:
        if is_sign and word == "}":
            return
    yield from ()


def _log(level: str, text: str) -> None:
    moment = wall.local("%Y/%m/%d %H:%M:%S")
    sys.stderr.write(f"{moment} [{level}] {os.getpid()}#{os.getpid()}: {text}\n")
    sys.stderr.flush()


def _stop(number: int, frame: object) -> NoReturn:
    _log("notice", f"signal {number} received, exiting")
    os._exit(0)
