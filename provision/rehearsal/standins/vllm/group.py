"""How the processes of one deployment find each other: over TCP, at the head's rpc port or master port.

Lines of JSON. A worker says hello with its ranks and is welcomed; when all are there the head tells them to load; each
says ready when it has. The connection then carries work for the worker's engines, and its end is how either side learns
of a death. As with the real one: the head waits without limit for engines, a worker gives up where no head answers; and
a headless worker outlives its head.

With a balancer outside (a server a rank, or a server a node) the processes meet the same way, at rank 0's coordinator,
but each answers its own requests: who joined hears of losses only.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from provision.clock import monotonic, sleep
from provision.rehearsal.standins.vllm import log
from provision.rehearsal.standins.vllm.failure import StartFailed

HANDSHAKE_SECONDS = 30.0
"""Stands for vLLM's five minutes; ``vllm/handshake_seconds`` changes it."""


class Hello(NamedTuple):
    """A worker's introduction. ``kind`` is engines (data-parallel) or ranks (one engine over nodes)."""

    kind: str
    ranks: tuple[int, ...]
    total: int
    hash: str
    headless: bool


class Rules(NamedTuple):
    """What the head expects. ``local`` are its own ranks; ``refuse`` raises for a wrong hello."""

    kind: str
    total: int
    local: tuple[int, ...]
    hash: str
    headless: bool = True


class Peer:
    """One end of a connection between head and worker."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self._lock = threading.Lock()
        self.alive = True
        self.late = False
        self.loaded: tuple[int, ...] = ()

    def send(self, message: dict[str, object]) -> None:
        """Send, or notice that the other side is gone."""
        try:
            with self._lock:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.alive = False

    def receive(self) -> dict[str, object] | None:
        """The next message; None when the other side is gone."""
        try:
            line = self._file.readline()
        except OSError as error:
            self.late = isinstance(error, TimeoutError)
            line = b""
        if not line.endswith(b"\n"):
            self.alive = False
            return None
        message = json.loads(line)
        return message if isinstance(message, dict) else None

    def limit_patience(self, seconds: float) -> None:
        """Wait so long for the next message, no longer."""
        self._connection.settimeout(seconds)

    def forget_patience(self) -> None:
        """From now on wait without limit."""
        self._connection.settimeout(None)

    def close(self) -> None:
        self.alive = False
        self._connection.close()


class Head:
    """The side that is waited at: gathers workers, lets them load, and gives them work."""

    def __init__(self, rules: Rules, address: str | None, port: int) -> None:
        self._rules = rules
        self._listener = _listen(address, port)
        self._peers: dict[int, Peer] = {}
        self._changed = threading.Condition()
        self._ready: set[int] = set(rules.local)
        self._answers: dict[int, threading.Event] = {}
        self._next = 0
        self.lost: list[int] = []
        self.patience = 0.0
        self.complaint: Callable[[Sequence[int]], StartFailed] | None = None

    def gather(self) -> None:
        """Wait, as long as it takes, until every rank has said hello; then tell all to load."""
        waiting = self._rules.total - len(self._rules.local)
        while waiting > 0:
            log_waiting(waiting)
            connection, _ = self._listener.accept()
            waiting -= self._let_in(Peer(connection))
        for peer in self._each():
            peer.send({"do": "load"})
            threading.Thread(target=self._follow, args=(peer,), daemon=True).start()

    def await_ready(self) -> None:
        """Wait until every rank has loaded. Raises when a worker died meanwhile, or ``patience`` (0: endless) ends."""
        until = monotonic() + self.patience if self.patience else float("inf")
        with self._changed:
            while len(self._ready) < self._rules.total:
                if self.lost:
                    raise StartFailed(
                        "RuntimeError: Engine core initialization failed. See root cause above. "
                        f"Failed core proc(s): {{'EngineCore_DP{self.lost[0]}': 1}}",
                        engine=self.lost[0],
                    )
                absent = sorted({*range(self._rules.total)} - self._ready)
                if monotonic() > until and self.complaint:
                    raise self.complaint(absent)
                self._changed.wait(0.2)
        for peer in self._each():
            peer.send({"do": "serve"})

    def generate(self, rank: int, timeout: float) -> bool:
        """Let the process that has ``rank`` do its part of a request; False where it didn't."""
        peer = self._peers.get(rank)
        if peer is None:
            return True
        with self._changed:
            self._next += 1
            number, event = self._next, threading.Event()
            self._answers[number] = event
        peer.send({"do": "generate", "number": number, "rank": rank})
        return event.wait(timeout) and peer.alive

    def _each(self) -> list[Peer]:
        return list(dict.fromkeys(self._peers.values()))

    def _let_in(self, peer: Peer) -> int:
        """Take a worker in; how many ranks it brought."""
        message = peer.receive()
        if message is None:
            return 0
        hello = _hello(message)
        if not self._rules.headless and any(rank in self._peers for rank in hello.ranks):
            # Two with one identity: ZeroMQ drops the second without a word, which then waits for an answer in vain.
            peer.close()
            return 0
        admitted = self._admit(peer, hello)
        peer.send({"do": "wait"})
        return len(admitted)

    def _admit(self, peer: Peer, hello: Hello) -> tuple[int, ...]:
        """Judge a worker, and fail as the real head does."""
        known = {*self._rules.local, *self._peers}
        for rank in hello.ranks:
            if rank in known or not 0 <= rank < self._rules.total or hello.kind != self._rules.kind:
                raise StartFailed(
                    f"RuntimeError: Message from engine with unexpected data parallel rank: {rank}", engine=rank
                )
            if hello.headless != self._rules.headless:
                must = "must use --headless unless" if self._rules.headless else "must not use --headless"
                raise StartFailed(
                    f"RuntimeError: Remote engine {rank} {must} in external or hybrid dp lb mode", engine=rank
                )
            if hello.hash != self._rules.hash or hello.total != self._rules.total:
                raise StartFailed(
                    f"RuntimeError: Configuration mismatch detected for engine {rank}. All DP workers must have identical "
                    "configurations for parameters that affect collective communication (e.g., enable_eplb, eplb_config.*).",
                    engine=rank,
                )
            self._peers[rank] = peer
        return hello.ranks

    def _follow(self, peer: Peer) -> None:
        """Listen to one worker until it is gone."""
        mine = [rank for rank, other in self._peers.items() if other is peer]
        while (message := peer.receive()) is not None:
            with self._changed:
                if message.get("did") == "load":
                    self._ready.update(mine)
                    for other in self._each():
                        other.send({"do": "loaded", "ranks": sorted(self._ready)})
                elif message.get("did") == "generate":
                    self._answers.pop(_number(message, "number"), threading.Event()).set()
                self._changed.notify_all()
        with self._changed:
            self.lost += mine
            self._changed.notify_all()
        for other in self._each():
            if other is not peer:
                other.send({"do": "mourn", "ranks": list(mine)})


class Member:
    """A process with an API of its own that joined rank 0's coordinator: it only needs to know who is gone."""

    def __init__(self, peer: Peer) -> None:
        self.lost: list[int] = []
        self._peer = peer
        threading.Thread(target=self._follow, daemon=True).start()

    def await_ready(self) -> None:
        """Say that this one has loaded. Raises where another died meanwhile."""
        if self.lost:
            raise StartFailed(
                "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer"
            )
        self._peer.send({"did": "load"})

    def generate(self, rank: int, timeout: float) -> bool:
        """Own ranks need nobody's part."""
        return True

    def _follow(self) -> None:
        while (message := self._peer.receive()) is not None:
            if message.get("do") == "mourn":
                self.lost += _ranks(message)
        self.lost.append(0)


def join(hello: Hello, address: str, port: int, patience: float) -> Peer:
    """A worker's way in: keep trying until the head tells it to load. Raises vLLM's error when it doesn't in time."""
    until = monotonic() + patience
    while monotonic() < until:
        peer = _dial(address, port, max(0.1, until - monotonic()))
        if peer is not None:
            peer.send({"kind": hello.kind, "ranks": list(hello.ranks), "total": hello.total, "hash": hello.hash,
                       "headless": hello.headless})  # fmt: skip
            if peer.receive() is not None:
                peer.forget_patience()
                if peer.receive() is not None:
                    return peer
            peer.close()
        sleep(0.05)
    if hello.kind == "ranks":
        raise StartFailed(
            f"torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to ({address}, {port})."
        )
    raise StartFailed(
        "RuntimeError: Did not receive response from front-end process within 5 minutes", engine=hello.ranks[0]
    )


def work(peer: Peer, did: Callable[[int], None], *, patience: float = 0.0) -> bool:
    """A worker's life: do what the head asks until it is gone, or another is; then stay, as the real one stays. False
    where not all have loaded within ``patience`` seconds (0: endless)."""
    if patience:
        peer.limit_patience(patience)
    while (message := peer.receive()) is not None and message.get("do") != "mourn":
        if message.get("do") == "serve":
            peer.forget_patience()
        if message.get("do") == "loaded":
            peer.loaded = _ranks(message)
        if message.get("do") == "generate":
            did(_number(message, "rank"))
            peer.send({"did": "generate", "number": _number(message, "number")})
    return not peer.late


def log_waiting(count: int) -> None:
    """The head's only sign of life while it waits: at DEBUG."""
    if os.environ.get("VLLM_LOGGING_LEVEL") == "DEBUG":
        log.info("APIServer", "utils.py:905", f"Waiting for 0 local, {count} remote core engine proc(s) to connect.")


def _listen(address: str | None, port: int) -> socket.socket:
    """Listen, or fail as ZeroMQ does. ``address`` is None for one that isn't the node's."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if address is None:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        listener.bind((address, port))
        listener.listen(64)
    except OSError as error:
        raise StartFailed(f"zmq.error.ZMQError: {error.strerror} (addr='tcp://*:{port}')", in_engine=False) from None
    return listener


def _dial(address: str, port: int, patience: float) -> Peer | None:
    try:
        connection = socket.create_connection((address, port), timeout=min(patience, 2.0))
    except OSError:
        return None
    connection.settimeout(patience)
    return Peer(connection)


def _hello(message: dict[str, object]) -> Hello:
    return Hello(
        kind=str(message.get("kind")),
        ranks=_ranks(message),
        total=_number(message, "total"),
        hash=str(message.get("hash")),
        headless=bool(message.get("headless")),
    )


def _ranks(message: dict[str, object]) -> tuple[int, ...]:
    ranks = message.get("ranks")
    return tuple(int(rank) for rank in ranks) if isinstance(ranks, list) else ()


def _number(message: dict[str, object], key: str) -> int:
    value = message.get(key)
    return value if isinstance(value, int) else -1
