"""The proof that a cluster serves: tokens, from every rank that can be addressed, and through the entry point.

``/health`` and ``/v1/models`` say 200 while generation is dead (seen on real nodes: an engine that dies at its first
token), so the proof is a completion. Tensor and pipeline ranks take part in every token by collective operations, so
one token proves them all; data-parallel engines are proven one by one, by their counters.

Where several servers stand behind one entry point, each is asked directly, as a router hides a dead one by asking
another; then the entry point is asked until every server has had a share of it. Prefill and decode do half of an answer
each, so they are proven by the entry point alone: every prefill server has read prompts, every decode server generated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, Queue, SimpleQueue
from threading import Event, Thread
from typing import TypeVar

from provision import clock
from provision.errors import ProofFailed
from provision.evaluate import chat
from provision.evaluate.metrics import EngineCounters, by_rank, engine_counters
from provision.http import Http, Response
from provision.node import Cluster
from provision.serve.plan import LaunchPlan, Process

T = TypeVar("T")
R = TypeVar("R")

FIRST_TOKEN = 300.0
"""Seconds for the whole proof: the first request compiles kernels, over 20 s on CPU and minutes of Triton on an NPU."""

ATTEMPTS = 3
"""A reply may end before its first word (a special token comes first, by chance of sampling): ask again."""

ROUNDS = 6
"""Each sends more requests than the one before, until every engine has had some."""

_AT_ONCE = 32
_WATCH_EVERY = 1.0
_SETTLE = 0.5
_LOOKS = 6

Reach = Callable[[Process], Http]
"""How to ask a process: through the connection of its own node."""

Ranked = Mapping[int, EngineCounters]
"""Counters of one server's engines by data-parallel rank."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """One look at a server. ``dead``: it answers, but says that its engine is gone, and will not come back.

    ``blocked`` is the remedy where no look can succeed before an operator has acted (forwarding forbidden).
    """

    connected: bool
    healthy: bool
    models: tuple[str, ...] = ()
    problem: str = ""
    dead: bool = False
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class ServerProof:
    """What one server has shown. ``tokens``: generated in the proof; ``prompted``: prompt tokens read in it, both 0
    where it counts none. ``engines``: tokens by the rank of each engine behind it; empty where it has one."""

    process: str
    node: str
    role: str = ""
    tokens: int = 0
    prompted: int = 0
    engines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven. ``tokens`` of the entry point's first completion; ``first_seconds`` until there were
    any (of every server, where each is asked); ``servers``: what each behind the entry point has shown;
    ``engines``: tokens that each engine of the only server generated in the proof (finished requests, where the server
    counts no tokens); empty for one engine. Seconds of wall time."""

    model: str
    text: str
    tokens: int
    seconds: float
    first_seconds: float
    max_model_len: int = 0
    engines: Mapping[str, int] = field(default_factory=dict)
    servers: tuple[ServerProof, ...] = ()


def probe_ready(http: Http, process: Process | None = None, *, token: str = "", timeout: float = 10.0) -> Readiness:
    """One look: does it answer, is it healthy, what does it serve. Never raises for what the server does.

    ``process`` tells which path answers 200 when it serves. A router that has no server yet is not dead.
    """
    path, server = (process.health, process.kind == "server") if process else ("/health", True)
    health = http.get(path, timeout=timeout)
    if not health.ok:
        return Readiness(
            connected=health.status > 0,
            healthy=False,
            problem=f"{path}: {health.problem()}",
            dead=health.status >= 500 and server,
            blocked=health.hint,
        )
    models = http.get("/v1/models", timeout=timeout, token=token)
    problem = "" if models.ok else f"/v1/models: {models.problem()}"
    return Readiness(connected=True, healthy=True, models=tuple(served_models(models)), problem=problem)


def _nothing() -> None:
    """Nobody to watch."""


@dataclass(frozen=True, slots=True)
class _Test:
    reach: Reach
    plan: LaunchPlan
    until: float
    token: str
    watch: Callable[[], None]

    @property
    def routed(self) -> bool:
        """Whether a router is the entry point."""
        return self.plan.entry.kind == "router"

    @property
    def counted(self) -> bool:
        """Whether engines have to be told apart: there are several, or several servers."""
        return self.plan.engines > 1 or len(self.plan.servers) > 1

    def named(self, process: Process) -> str:
        """What a failure begins with: whose it is, where that is a question."""
        alone = process.name == self.plan.head and len(self.plan.servers) == 1
        return "" if alone and not self.routed else f"{place(process)}: "

    def failed(self, process: Process, message: str, *, hint: str, evidence: str = "") -> ProofFailed:
        whose = self.named(process)
        blamed = process.name if whose else ""
        return ProofFailed(f"{whose}{message}", hint=hint, node=process.node, process=blamed, evidence=evidence)


def prove(
    reach: Reach,
    plan: LaunchPlan,
    *,
    deadline: float = FIRST_TOKEN,
    token: str = "",
    watch: Callable[[], None] = _nothing,
) -> Proof:
    """Prove that ``plan`` generates through its served name, on every engine of every server. ``deadline``: seconds for
    all of it.

    ``watch`` is called every second or so while answers are waited for; what it raises (a process has ended, the
    operator wants to stop) ends the proof. Raises ``ProofFailed``, which says whose and at which stage, what the server
    said, and what to do where that is known.
    """
    started = clock.monotonic()
    test = _Test(reach, plan, started + deadline, token, watch)
    length = _prove_served(test)
    before = _every_counter(test, plan.servers) if test.counted else {}
    first = clock.monotonic()
    if test.routed and not halves(plan):  # a router's failure would not tell which of them it is
        _prove_each(test, before)
    reply = _prove_completion(test, plan.entry, before)
    first_seconds = clock.monotonic() - first
    if test.routed:
        _prove_shares(test, before if halves(plan) else None)
    else:
        _prove_each(test, before)
    servers = _shown(test, before)
    return Proof(
        model=plan.served_name,
        text=reply.text,
        tokens=max(reply.tokens, 1),
        seconds=clock.monotonic() - started,
        first_seconds=first_seconds,
        max_model_len=length,
        engines=servers[0].engines if len(servers) == 1 else {},
        servers=servers,
    )


def prove_server(
    reach: Reach, plan: LaunchPlan, server: Process, *, deadline: float = FIRST_TOKEN, token: str = ""
) -> ServerProof:
    """Prove that one server generates on every engine behind it, asked directly. Raises ``ProofFailed``."""
    test = _Test(reach, plan, clock.monotonic() + deadline, token, _nothing)
    _prove_offered(test, server)
    before = _every_counter(test, (server,)) if test.counted else {}
    _prove_server(test, server, before)
    return _shown_by(test, server, before)


def reaching(cluster: Cluster) -> Reach:
    """How processes are asked: each through the connection of its own node."""
    nodes = {node.name: node for node in cluster.nodes}
    return lambda process: nodes[process.node].http(process.api_port or nodes[process.node].settings.serve.port)


def halves(plan: LaunchPlan) -> bool:
    """Whether servers do a part of each answer, so that only the entry point gives whole ones."""
    return plan.entry.kind == "router" and any(group.role in _DONE for group in plan.groups)


def place(process: Process) -> str:
    """``worker1 on atlas-2``."""
    return f"{process.name} on {process.node}"


def served_models(answer: Response) -> dict[str, int]:
    """``max_model_len`` by id from ``/v1/models`` (0 where it isn't told)."""
    body = answer.json() if answer.ok else None
    data = body.get("data") if isinstance(body, dict) else None
    cards = [card for card in data if isinstance(card, dict)] if isinstance(data, list) else []
    return {str(card.get("id", "")): int(card.get("max_model_len") or 0) for card in cards}


# ---- what is offered


def _prove_served(test: _Test) -> int:
    """Every server is healthy and has the model, then the entry point: a router is only as well as its servers. The
    length that the entry point tells."""
    lengths = _at_once(test, test.plan.servers, lambda quiet, server: _prove_offered(quiet, server))
    if test.routed:
        return _prove_offered(test, test.plan.entry)
    return lengths[test.plan.head]


def _prove_offered(test: _Test, process: Process) -> int:
    http, name = test.reach(process), test.plan.served_name
    ready = probe_ready(http, process, token=test.token)
    if not ready.healthy:
        raise test.failed(process, f"not healthy: {ready.problem}", hint=ready.blocked or _DEAD_HINT)
    answer = http.get("/v1/models", token=test.token)
    if not answer.ok:
        raise _failed(test, process, "/v1/models", answer)
    models = served_models(answer)
    if name not in models:
        raise test.failed(
            process,
            f"the server offers {', '.join(models) or 'nothing'}, not {name}",
            hint="another server answers on this port, or it was launched otherwise: `status` shows which",
        )
    return models[name]


# ---- a completion


def _prove_completion(test: _Test, process: Process, before: Mapping[str, Ranked]) -> chat.Reply:
    attempts = ATTEMPTS
    while True:
        ((answer, reply),) = _ask_all(test, process, [chat.payload(test.plan.served_name)])
        attempts -= 1
        if reply is None:
            raise _failed(test, process, "the first completion", answer, _holding(test, process, before, answer))
        if reply.generated:
            return reply
        if not attempts:
            raise _wordless(test, process, reply, answer)


def _wordless(test: _Test, process: Process, reply: chat.Reply, answer: Response) -> ProofFailed:
    return test.failed(
        process,
        f"{ATTEMPTS} completions hold no text (finish reason: {reply.finish_reason or 'none'}, "
        f"tokens counted: {reply.tokens})",
        hint="the server answers without generating: see the logs of every node",
        evidence=answer.text()[:2000],
    )


# ---- each server, asked directly


def _prove_each(test: _Test, before: Mapping[str, Ranked]) -> None:
    """Every server generates on every engine behind it, all servers at the same time."""
    _at_once(test, test.plan.servers, lambda quiet, server: _prove_server(quiet, server, before))


def _prove_server(test: _Test, server: Process, before: Mapping[str, Ranked]) -> None:
    if server.name != test.plan.head:  # that one has answered already
        _prove_completion(test, server, before)
    if len(test.plan.behind(server)) > 1:
        _prove_engines(test, server, before[server.name])


def _prove_engines(test: _Test, server: Process, before: Ranked) -> None:
    """Send rounds of concurrent requests until every engine's counter has moved: the server spreads by load."""
    ranks = test.plan.behind(server)

    def silent(after: Mapping[str, Ranked]) -> list[int]:
        return _still(ranks, before, after.get(server.name, {}), _generated)

    after: Mapping[str, Ranked] = {}
    for number in range(ROUNDS):
        _send_round(test, server, 2 * len(ranks) * (number + 1), number, {server.name: before})
        after = _settled(test, (server,), lambda after: not silent(after))
        if not silent(after):
            return
        if test.until <= clock.monotonic():
            break
    raise _silent(test, server, silent(after), counted=bool(after.get(server.name)))


def _silent(test: _Test, server: Process, silent: Sequence[int], *, counted: bool) -> ProofFailed:
    count = len(test.plan.behind(server))
    if not counted:
        return test.failed(
            server,
            f"the server counts nothing by engine in /metrics, so {count} engines cannot be told apart",
            hint=_COUNT_HINT,
        )
    return test.failed(
        server,
        f"{len(silent)} of {count} engines generated nothing: {_engines(test.plan, server, silent)}",
        hint="the others serve; see the logs of the processes named, then `down` and `up`: the group restarts as one",
    )


# ---- every server's share of what the entry point is asked


def _prove_shares(test: _Test, before: Mapping[str, Ranked] | None) -> None:
    """Send rounds to the entry point until every server has done its own part of some. ``before``: where the first
    completion counts already; else what servers did when asked directly is left out."""
    then = before if before is not None else _every_counter(test, test.plan.servers)
    after: Mapping[str, Ranked] = then
    for number in range(ROUNDS):
        count = 2 * max(len(test.plan.servers), test.plan.engines if halves(test.plan) else 1) * (number + 1)
        _send_round(test, test.plan.entry, count, number, then)
        after = _settled(test, test.plan.servers, lambda after: not _left_out(test.plan, then, after))
        if not _left_out(test.plan, then, after):
            return
        if test.until <= clock.monotonic():
            break
    raise _unshared(test, _left_out(test.plan, then, after), after)


def _left_out(
    plan: LaunchPlan, before: Mapping[str, Ranked], after: Mapping[str, Ranked]
) -> list[tuple[Process, list[int]]]:
    """The servers that did nothing of their part, with their idle engines. A server that was asked directly needs no
    more than one engine at work; one that wasn't has not proven any other."""
    found = []
    for server in plan.servers:
        ranks, done = plan.behind(server), _DONE.get(server.role, _generated)
        idle = _still(ranks, before.get(server.name, {}), after.get(server.name, {}), done)
        if idle and (len(idle) == len(ranks) or halves(plan)):
            found.append((server, idle))
    return found


def _unshared(
    test: _Test, left_out: Sequence[tuple[Process, Sequence[int]]], after: Mapping[str, Ranked]
) -> ProofFailed:
    server, _ = left_out[0]
    if not after.get(server.name):
        return test.failed(
            server, "the server counts nothing in /metrics, so its share cannot be told", hint=_COUNT_HINT
        )
    blamed = server if halves(test.plan) else test.plan.entry  # the others have generated when they were asked
    told = ", ".join(_idle(test.plan, server, idle) for server, idle in left_out[:8])
    more = f" and {len(left_out) - 8} more" if len(left_out) > 8 else ""
    return ProofFailed(
        f"of what {place(test.plan.entry)} was asked, {len(left_out)} of {len(test.plan.servers)} servers had no "
        f"share: {told}{more}",
        hint=f"see the log of {test.plan.head} (does it know the server, and reach {server.address}:{server.api_port}?)"
        f" and that of {server.name}",
        node=blamed.node,
        process=blamed.name,
    )


def _idle(plan: LaunchPlan, server: Process, idle: Sequence[int]) -> str:
    part = " read no prompt" if server.role == "prefill" else " generated nothing" if server.role else ""
    ranks = plan.behind(server)
    which = "" if len(idle) == len(ranks) else f" (engine {', '.join(map(str, idle))} of {len(ranks)})"
    return f"{place(server)}{which}{part}"


def _shown(test: _Test, before: Mapping[str, Ranked]) -> tuple[ServerProof, ...]:
    if not test.counted:
        (server,) = test.plan.servers
        return (ServerProof(server.name, server.node, server.role),)
    shown = _at_once(test, test.plan.servers, lambda quiet, server: _shown_by(quiet, server, before))
    return tuple(shown.values())


def _shown_by(test: _Test, server: Process, before: Mapping[str, Ranked]) -> ServerProof:
    then, now = before.get(server.name, {}), _counters(test, server)
    none, ranks = EngineCounters(), test.plan.behind(server)
    tokens = {rank: _moved(then.get(rank, none), now.get(rank, none)) for rank in ranks}
    read = sum((c.prompted or 0.0) - (then.get(rank, none).prompted or 0.0) for rank, c in now.items())
    engines = {str(rank): count for rank, count in tokens.items()} if len(ranks) > 1 else {}
    return ServerProof(server.name, server.node, server.role, sum(tokens.values()), max(0, int(read)), engines)


# ---- requests


def _send_round(test: _Test, process: Process, count: int, number: int, before: Mapping[str, Ranked]) -> None:
    bodies = [chat.payload(test.plan.served_name, _prompt(number, n)) for n in range(count)]
    bad = [answer for answer, reply in _ask_all(test, process, bodies) if reply is None]
    if bad:
        routed = process.kind == "router"
        whom = f"all {len(test.plan.servers)} servers" if routed else f"all {len(test.plan.behind(process))} engines"
        raise _failed(test, process, f"a request to {whom}", bad[0], _holding(test, process, before, bad[0]))


def _prompt(number: int, n: int) -> str:
    """The seed's question, with another beginning each time: routers send what begins alike to one server."""
    return f"{hashlib.sha256(f'{number}.{n}'.encode()).hexdigest()[:12]}: {chat.SEED_PROMPT}"


_Answer = tuple[Response, chat.Reply | None]


def _ask_all(test: _Test, process: Process, bodies: Sequence[Mapping[str, object]]) -> list[_Answer]:
    """All requests at the same time, and ``watch`` meanwhile. One that fails ends it: the rest would tell no more."""
    http = test.reach(process)

    def ask(body: Mapping[str, object]) -> _Answer:
        return chat.ask(http, body, timeout=_left(test.until), token=test.token)

    got = _in_threads(bodies, ask, test.watch, enough=lambda answer: answer[1] is None)
    return [got[-1]] if got[-1][1] is None else got


class _Over(Exception):
    """Somebody else's failure has ended the proof."""


def _at_once(test: _Test, processes: Sequence[Process], do: Callable[[_Test, Process], R]) -> dict[str, R]:
    """Do it for all processes at the same time, by name in their order; ``watch`` is called by this thread alone. The
    first failure ends it."""
    over = Event()

    def quiet() -> None:
        if over.is_set():
            raise _Over

    inner = _Test(test.reach, test.plan, test.until, test.token, quiet)
    try:
        got = _in_threads(processes, lambda p: (p.name, do(inner, p)), test.watch, at_once=len(processes))
    finally:
        over.set()
    results = dict(got)
    return {process.name: results[process.name] for process in processes}


def _in_threads(
    given: Sequence[T],
    do: Callable[[T], R],
    watch: Callable[[], None],
    *,
    enough: Callable[[R], bool] = lambda result: False,
    at_once: int = _AT_ONCE,
) -> list[R]:
    """Results as they come, until one is ``enough``; an exception is raised here.

    The threads are daemons: a server that never answers must not keep an operator who has given up.
    """
    answers: Queue[R | _Raised] = Queue()
    left, over = SimpleQueue[T](), Event()
    for each in given:
        left.put(each)

    def work() -> None:
        while not over.is_set():
            try:
                each = left.get_nowait()
            except Empty:
                return
            try:
                answers.put(do(each))
            except Exception as error:
                answers.put(_Raised(error))

    for _ in range(min(len(given), at_once)):
        Thread(target=work, daemon=True).start()
    got: list[R] = []
    try:
        while len(got) < len(given) and not (got and enough(got[-1])):
            got.append(_next(answers, watch))
    finally:
        over.set()
    return got


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception


def _next(answers: Queue[R | _Raised], watch: Callable[[], None]) -> R:
    while True:
        try:
            answer = answers.get(timeout=_WATCH_EVERY)
        except Empty:
            watch()
            continue
        if isinstance(answer, _Raised):
            raise answer.error
        return answer


# ---- counters


def _every_counter(test: _Test, servers: Sequence[Process]) -> dict[str, Ranked]:
    """Counters of servers that must have them."""
    return _at_once(test, servers, lambda quiet, server: _counters_before(quiet, server))


def _counters_before(test: _Test, server: Process) -> Ranked:
    answer = test.reach(server).get("/metrics")
    if not answer.ok:
        raise _failed(test, server, "/metrics, which tells the engines apart", answer)
    return by_rank(engine_counters(answer.text()), test.plan.behind(server))


def _counters(test: _Test, server: Process) -> Ranked:
    answer = test.reach(server).get("/metrics")
    return by_rank(engine_counters(answer.text()), test.plan.behind(server)) if answer.ok else {}


def _settled(
    test: _Test, servers: Sequence[Process], enough: Callable[[Mapping[str, Ranked]], bool]
) -> Mapping[str, Ranked]:
    """Counters after a round; they follow the answers by an engine step or two, so look a few times."""
    after = _at_once(test, servers, _counters)
    for _ in range(_LOOKS):
        if enough(after) or test.until <= clock.monotonic():
            break
        clock.sleep(_SETTLE)
        test.watch()
        after = _at_once(test, servers, _counters)
    return after


def _generated(now: EngineCounters, before: EngineCounters) -> bool:
    return now.moved_since(before)


def _read(now: EngineCounters, before: EngineCounters) -> bool:
    return now.read_since(before)


_DONE: Mapping[str, Callable[[EngineCounters, EngineCounters], bool]] = {"prefill": _read, "decode": _generated}
"""By role, how an engine shows that it has done its part."""


def _still(
    ranks: Sequence[int],
    before: Ranked,
    after: Ranked,
    done: Callable[[EngineCounters, EngineCounters], bool],
) -> list[int]:
    none = EngineCounters()
    return [rank for rank in ranks if not done(after.get(rank, none), before.get(rank, none))]


def _moved(before: EngineCounters, after: EngineCounters) -> int:
    """Tokens generated; finished requests, where the server counts no tokens."""
    if after.generated is not None:
        return int(after.generated - (before.generated or 0))
    return int((after.succeeded or 0) - (before.succeeded or 0))


def _holding(test: _Test, asked: Process, before: Mapping[str, Ranked], answer: Response) -> str:
    """Which engines took a request that was never answered; empty where that is not what happened."""
    if answer.status or not test.counted:
        return ""
    stuck, servers = [], test.plan.servers if asked.kind == "router" else (asked,)
    found = _at_once(test, servers, _counters)
    for server in servers:
        after = found[server.name]
        still = _still(list(after), before.get(server.name, {}), after, _DONE.get(server.role, _generated))
        if held := [rank for rank in still if after[rank].running]:
            stuck.append(_engines(test.plan, server, held))
    return f"; {', '.join(stuck)} holds requests and generates nothing" if stuck else ""


def _engines(plan: LaunchPlan, server: Process, engines: Sequence[int]) -> str:
    """Engines with their places: ``engine 5 (worker1 on atlas-2)``."""
    members = [plan.process(name) for name in plan.group_of(server).processes]
    homes = {engine: place(member) for member in members for engine in member.engines}
    return ", ".join(f"engine {engine} ({homes.get(engine, 'no process of the plan')})" for engine in engines)


def _left(until: float) -> float:
    return max(until - clock.monotonic(), 1.0)


_COUNT_HINT = "remove disable-log-stats from serve.engine_args"
_DEAD_HINT = "see the logs of every node; a server whose engine has died stays unhealthy until it is started again"
_HINTS = {
    401: "the server wants a key: set serve.api_key to the one it was launched with",
    404: "the name in the request is none that the server knows",
}


def _failed(test: _Test, process: Process, stage: str, answer: Response, more: str = "") -> ProofFailed:
    hint = answer.hint or _HINTS.get(answer.status, _DEAD_HINT)
    what = f"{stage}: {answer.problem() or '200, but no choice in it'}{more}"
    return test.failed(process, what, hint=hint, evidence=answer.text()[:2000])
