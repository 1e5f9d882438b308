"""A server that answers as vLLM does, without a socket: what proof and verification are tested against."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from provision.http import Http, Response
from provision.serve.plan import Group, LaunchPlan, Process

NAME = "qwen3_next"


def plan(engines: int = 1, argv: tuple[str, ...] = ("vllm", "serve")) -> LaunchPlan:
    """A plan of ``engines`` engines, one process each."""
    names = ["head", *(f"worker{n}" for n in range(1, engines))]
    processes = tuple(
        Process(name, f"atlas-{n + 1}", n, n, argv, {}, api_port=None if n else 8000, engines=(n,))
        for n, name in enumerate(names)
    )
    return LaunchPlan(
        "qnext",
        "data-parallel",
        "cpu",
        "i",
        "/m",
        NAME,
        processes,
        (),
        "head",
        "http://a:8000/v1",
        engines,
        groups=(Group("", "", tuple(names), engines),),
    )


def routed(
    names: Mapping[str, Sequence[int]], *, roles: Mapping[str, str] | None = None, shared: bool = False
) -> LaunchPlan:
    """A plan of servers with their ranks behind a router: each a group of its own, or all ``shared`` in one."""
    roles = roles or {}
    servers = tuple(
        Process(
            name,
            f"atlas-{n + 1}",
            n,
            ranks[0],
            ("vllm", "serve"),
            {},
            api_port=8100,
            engines=tuple(ranks),
            role=roles.get(name, ""),
        )
        for n, (name, ranks) in enumerate(names.items())
    )
    router = Process(
        "router", "atlas-1", 0, 0, ("vllm-router",), {}, api_port=8000, engines=(), kind="router", health="/healthcheck"
    )
    engines = sum(map(len, names.values()))
    one = (Group("", "", tuple(names), engines),)
    each = tuple(Group(name, roles.get(name, ""), (name,), len(ranks)) for name, ranks in names.items())
    topology = "prefill-decode" if roles else "hybrid-dp" if shared else "replicas"
    return LaunchPlan(
        "qnext",
        topology,
        "cpu",
        "i",
        "/m",
        NAME,
        (*servers, router),
        (),
        "router",
        "http://a:8000/v1",
        engines,
        groups=one if shared else each,
    )


def at(server: Http) -> Callable[[Process], Http]:
    """Whatever is asked, it is this server that answers."""
    return lambda process: server


@dataclass
class FakeServer:
    """``engines`` take turns; those in ``deaf`` get no requests; ``said`` makes the content of a reply."""

    engines: int = 1
    deaf: tuple[int, ...] = ()
    said: Callable[[str], Mapping[str, object]] = lambda prompt: {"content": "I am Qwen."}
    usage: Mapping[str, int] = field(default_factory=lambda: {"completion_tokens": 4, "prompt_tokens": 9})
    health: Response = field(default_factory=lambda: Response(200))
    models: Mapping[str, object] = field(default_factory=lambda: {NAME: 4096})
    failing: Response | None = None
    counts: bool = True
    key: str = ""
    stream_tail: tuple[str, ...] = ("[DONE]",)
    payloads: list[Mapping[str, object]] = field(default_factory=list)
    stuck: int | None = None
    """An engine whose requests never end: they time out."""
    first: int = 0
    """The number by which its first engine is labelled."""
    lag: int = 0
    """Looks at /metrics until what was generated shows."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._generated = [0] * self.engines
        self._shown = [0] * self.engines
        self._read = [0] * self.engines
        self._turn = 0
        self._behind = 0

    def get(self, path: str, *, timeout: float = 10.0, token: str = "") -> Response:
        if path in ("/health", "/healthcheck"):
            return self.health
        if path == "/metrics":
            return Response(200, self._metrics().encode())
        if token != self.key:
            return Response(401, b'{"error": "Unauthorized"}')
        cards = [{"id": name, "max_model_len": length} for name, length in self.models.items()]
        return Response(200, json.dumps({"data": cards}).encode())

    def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response:
        assert isinstance(payload, dict)
        with self._lock:
            self.payloads.append(payload)
        if token != self.key:
            return Response(401, b'{"error": "Unauthorized"}')
        if payload["model"] not in self.models:
            return Response(404, b'{"error": {"message": "The model does not exist.", "code": 404}}')
        if self.failing:
            return self.failing
        if not self._generate():
            return Response(0, error=f"127.0.0.1:8000 gave no answer within {timeout:g} s")
        message = self.said(payload["messages"][0]["content"])
        choice = {"message": message, "finish_reason": "length"}
        return Response(200, json.dumps({"model": NAME, "choices": [choice], "usage": self.usage}).encode())

    def stream(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Iterator[str]:
        answer = self.post(path, payload, token=token)
        if not answer.ok:
            yield json.dumps({"error": {"message": answer.problem(), "code": answer.status}})
            return
        text = str(answer.json()["choices"][0]["message"].get("content", ""))
        for piece in ("", text[:3], text[3:]):
            yield json.dumps({"choices": [{"delta": {"content": piece}}]})
        yield from self.stream_tail

    def _generate(self) -> bool:
        with self._lock:
            hearing = [engine for engine in range(self.engines) if engine not in self.deaf]
            engine = hearing[self._turn % len(hearing)]
            self._turn += 1
            self._behind = self.lag
            self._read[engine] += 9
            if engine != self.stuck:
                self._generated[engine] += 4
            return engine != self.stuck

    def _metrics(self) -> str:
        with self._lock:
            self._behind -= 1
            if self._behind < 0:
                self._shown = list(self._generated)
        lines = [
            f'vllm:generation_tokens_total{{engine="{e + self.first}",model_name="m"}} {n}.0'
            for e, n in enumerate(self._shown)
        ]
        lines += [
            f'vllm:num_requests_running{{engine="{e + self.first}"}} {1.0 * (e == self.stuck)}'
            for e in range(self.engines)
        ]
        lines += [f'vllm:prompt_tokens_total{{engine="{e + self.first}"}} {n}.0' for e, n in enumerate(self._read)]
        return "# TYPE vllm:generation_tokens counter\n" + "\n".join(lines if self.counts else [])


@dataclass
class FakeRouter(FakeServer):
    """Hands requests to its servers in turn, but for those it leaves out; asks ``readers`` for each prompt first."""

    behind: Sequence[FakeServer] = ()
    readers: Sequence[FakeServer] = ()

    def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response:
        with self._lock:
            turn = self._turn
            self._turn += 1
        if self.readers:
            self.readers[turn % len(self.readers)].post(path, payload, timeout=timeout, token=token)
        return self.behind[turn % len(self.behind)].post(path, payload, timeout=timeout, token=token)
