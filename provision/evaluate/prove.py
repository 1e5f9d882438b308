"""The proof that a cluster serves: tokens, from every rank that can be addressed.

``/health`` and ``/v1/models`` say 200 while generation is dead (seen on real nodes: an engine that dies at its first
token), so the proof is a completion. Tensor and pipeline ranks take part in every token by collective operations, so
one token proves them all; data-parallel engines are proven one by one, by their counters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, Queue, SimpleQueue
from threading import Event, Thread

from provision import clock
from provision.errors import ProofFailed
from provision.evaluate import chat
from provision.evaluate.metrics import EngineCounters, engine_counters
from provision.http import Http, Response
from provision.serve.plan import LaunchPlan

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
class Proof:
    """What was proven. ``tokens`` of the first completion; ``engines``: tokens that each engine generated in the proof
    (finished requests, where the server counts no tokens); empty for one engine. Seconds of wall time."""

    model: str
    text: str
    tokens: int
    seconds: float
    first_seconds: float
    max_model_len: int = 0
    engines: Mapping[str, int] = field(default_factory=dict)


def probe_ready(http: Http, *, token: str = "", timeout: float = 10.0) -> Readiness:
    """One look: does it answer, is it healthy, what does it serve. Never raises for what the server does."""
    health = http.get("/health", timeout=timeout)
    if not health.ok:
        return Readiness(
            connected=health.status > 0,
            healthy=False,
            problem=f"/health: {health.problem()}",
            dead=health.status >= 500,
            blocked=health.hint,
        )
    models = http.get("/v1/models", timeout=timeout, token=token)
    problem = "" if models.ok else f"/v1/models: {models.problem()}"
    return Readiness(connected=True, healthy=True, models=tuple(served_models(models)), problem=problem)


def _nothing() -> None:
    """Nobody to watch."""


@dataclass(frozen=True, slots=True)
class _Test:
    http: Http
    plan: LaunchPlan
    until: float
    token: str
    watch: Callable[[], None]


def prove(
    http: Http,
    plan: LaunchPlan,
    *,
    deadline: float = FIRST_TOKEN,
    token: str = "",
    watch: Callable[[], None] = _nothing,
) -> Proof:
    """Prove that ``plan`` generates through its served name, on every engine. ``deadline``: seconds for all of it.

    ``watch`` is called every second or so while answers are waited for; what it raises (a process has ended, the
    operator wants to stop) ends the proof. Raises ``ProofFailed``, which says at which stage, what the server said, and
    what to do where that is known.
    """
    started = clock.monotonic()
    test = _Test(http, plan, started + deadline, token, watch)
    _prove_healthy(http)
    length = _prove_served(http, plan, token)
    before = _counters_before(http) if plan.engines > 1 else {}
    first = clock.monotonic()
    reply = _prove_completion(test, before)
    first_seconds = clock.monotonic() - first
    engines = _prove_engines(test, before) if plan.engines > 1 else {}
    return Proof(
        model=plan.served_name,
        text=reply.text,
        tokens=max(reply.tokens, 1),
        seconds=clock.monotonic() - started,
        first_seconds=first_seconds,
        max_model_len=length,
        engines=engines,
    )


def served_models(answer: Response) -> dict[str, int]:
    """``max_model_len`` by id from ``/v1/models`` (0 where it isn't told)."""
    body = answer.json() if answer.ok else None
    data = body.get("data") if isinstance(body, dict) else None
    cards = [card for card in data if isinstance(card, dict)] if isinstance(data, list) else []
    return {str(card.get("id", "")): int(card.get("max_model_len") or 0) for card in cards}


def _prove_healthy(http: Http) -> None:
    ready = probe_ready(http)
    if not ready.healthy:
        raise ProofFailed(f"not healthy: {ready.problem}", hint=ready.blocked or _DEAD_HINT)


def _prove_served(http: Http, plan: LaunchPlan, token: str) -> int:
    answer = http.get("/v1/models", token=token)
    if not answer.ok:
        raise _failed("/v1/models", answer)
    models = served_models(answer)
    if plan.served_name not in models:
        names = ", ".join(models) or "nothing"
        raise ProofFailed(
            f"the server offers {names}, not {plan.served_name}",
            hint="another server answers on this port, or it was launched otherwise: `status` shows which",
        )
    return models[plan.served_name]


def _prove_completion(test: _Test, before: Mapping[str, EngineCounters]) -> chat.Reply:
    attempts = ATTEMPTS
    while True:
        ((answer, reply),) = _ask_all(test, [chat.payload(test.plan.served_name)])
        attempts -= 1
        if reply is None:
            raise _failed("the first completion", answer, _holding(test, before, answer))
        if reply.generated:
            return reply
        if not attempts:
            raise _wordless(reply, answer)


def _wordless(reply: chat.Reply, answer: Response) -> ProofFailed:
    return ProofFailed(
        f"{ATTEMPTS} completions hold no text (finish reason: {reply.finish_reason or 'none'}, "
        f"tokens counted: {reply.tokens})",
        hint="the server answers without generating: see the logs of every node",
        evidence=answer.text()[:2000],
    )


def _prove_engines(test: _Test, before: Mapping[str, EngineCounters]) -> dict[str, int]:
    """Send rounds of concurrent requests until every engine's counter has moved: the server spreads by load."""
    wanted = [str(engine) for engine in range(test.plan.engines)]
    after: Mapping[str, EngineCounters] = {}
    for number in range(ROUNDS):
        _send_round(test, 2 * test.plan.engines * (number + 1), number, before)
        after = _settled(test, wanted, before)
        if not _unmoved(wanted, before, after):
            return {engine: _moved_by(before.get(engine, EngineCounters()), after[engine]) for engine in wanted}
        if test.until <= clock.monotonic():
            break
    raise _silent(test.plan, wanted, before, after)


def _send_round(test: _Test, count: int, number: int, before: Mapping[str, EngineCounters]) -> None:
    bodies = [chat.payload(test.plan.served_name, f"{chat.SEED_PROMPT} ({number}.{n})") for n in range(count)]
    bad = [answer for answer, reply in _ask_all(test, bodies) if reply is None]
    if bad:
        raise _failed(f"a request to all {test.plan.engines} engines", bad[0], _holding(test, before, bad[0]))


def _ask_all(test: _Test, bodies: Sequence[Mapping[str, object]]) -> list[tuple[Response, chat.Reply | None]]:
    """All requests at the same time, and ``watch`` meanwhile. One that fails ends it: the rest would tell no more.

    The threads are daemons: a server that never answers must not keep an operator who has given up.
    """
    answers: Queue[tuple[Response, chat.Reply | None] | Exception] = Queue()
    left, over = SimpleQueue[Mapping[str, object]](), Event()
    for body in bodies:
        left.put(body)
    for _ in range(min(len(bodies), _AT_ONCE)):
        Thread(target=_ask_left, args=(test, left, answers, over), daemon=True).start()
    got: list[tuple[Response, chat.Reply | None]] = []
    try:
        while len(got) < len(bodies) and (not got or got[-1][1] is not None):
            got.append(_next(answers, test.watch))
    finally:
        over.set()
    return [got[-1]] if got[-1][1] is None else got


def _ask_left(
    test: _Test,
    left: SimpleQueue[Mapping[str, object]],
    answers: Queue[tuple[Response, chat.Reply | None] | Exception],
    over: Event,
) -> None:
    while not over.is_set():
        try:
            answers.put(chat.ask(test.http, left.get_nowait(), timeout=_left(test.until), token=test.token))
        except Empty:
            return
        except Exception as error:
            answers.put(error)


def _next(
    answers: Queue[tuple[Response, chat.Reply | None] | Exception], watch: Callable[[], None]
) -> tuple[Response, chat.Reply | None]:
    while True:
        try:
            answer = answers.get(timeout=_WATCH_EVERY)
        except Empty:
            watch()
            continue
        if isinstance(answer, Exception):
            raise answer
        return answer


def _settled(test: _Test, wanted: Sequence[str], before: Mapping[str, EngineCounters]) -> Mapping[str, EngineCounters]:
    """Counters after a round; they follow the answers by an engine step or two, so look a few times."""
    after = _counters(test.http)
    for _ in range(_LOOKS):
        if not _unmoved(wanted, before, after) or test.until <= clock.monotonic():
            break
        clock.sleep(_SETTLE)
        test.watch()
        after = _counters(test.http)
    return after


def _holding(test: _Test, before: Mapping[str, EngineCounters], answer: Response) -> str:
    """Which engines took a request that was never answered; empty where that is not what happened."""
    if answer.status or test.plan.engines == 1:
        return ""
    after = _counters(test.http)
    stuck = [engine for engine in _unmoved(list(after), before, after) if after[engine].running]
    return f"; {_engines(test.plan, stuck)} holds requests and generates nothing" if stuck else ""


def _unmoved(
    wanted: Sequence[str], before: Mapping[str, EngineCounters], after: Mapping[str, EngineCounters]
) -> list[str]:
    none = EngineCounters()
    return [engine for engine in wanted if not after.get(engine, none).moved_since(before.get(engine, none))]


def _moved_by(before: EngineCounters, after: EngineCounters) -> int:
    if after.generated is not None:
        return int(after.generated - (before.generated or 0))
    return int((after.succeeded or 0) - (before.succeeded or 0))


def _silent(
    plan: LaunchPlan, wanted: Sequence[str], before: Mapping[str, EngineCounters], after: Mapping[str, EngineCounters]
) -> ProofFailed:
    if not after:
        return ProofFailed(
            f"the server counts nothing by engine in /metrics, so {plan.engines} engines cannot be told apart",
            hint="remove disable-log-stats from serve.engine_args",
        )
    silent = _unmoved(wanted, before, after)
    return ProofFailed(
        f"{len(silent)} of {plan.engines} engines generated nothing: {_engines(plan, silent)}",
        hint="the others serve; see the logs of the processes named, then `down` and `up`: the group restarts as one",
    )


def _engines(plan: LaunchPlan, engines: Sequence[str]) -> str:
    """Engines with their places: ``engine 5 (worker1 on atlas-2)``."""
    homes = {str(engine): f"{p.name} on {p.node}" for p in plan.processes for engine in p.engines}
    return ", ".join(f"engine {engine} ({homes.get(engine, 'no process of the plan')})" for engine in engines)


def _counters_before(http: Http) -> dict[str, EngineCounters]:
    answer = http.get("/metrics")
    if not answer.ok:
        raise _failed("/metrics, which tells the engines apart", answer)
    return engine_counters(answer.text())


def _counters(http: Http) -> dict[str, EngineCounters]:
    answer = http.get("/metrics")
    return engine_counters(answer.text()) if answer.ok else {}


def _left(until: float) -> float:
    return max(until - clock.monotonic(), 1.0)


_DEAD_HINT = "see the logs of every node; a server whose engine has died stays unhealthy until it is started again"
_HINTS = {
    401: "the server wants a key: set serve.api_key to the one it was launched with",
    404: "the name in the request is none that the server knows",
}


def _failed(stage: str, answer: Response, more: str = "") -> ProofFailed:
    hint = answer.hint or _HINTS.get(answer.status, _DEAD_HINT)
    return ProofFailed(
        f"{stage}: {answer.problem() or '200, but no choice in it'}{more}", hint=hint, evidence=answer.text()[:2000]
    )
