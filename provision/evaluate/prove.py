"""The proof that a cluster serves: tokens, from every rank that can be addressed.

``/health`` and ``/v1/models`` say 200 while generation is dead (seen on real nodes: an engine that dies at its first
token), so the proof is a completion. Tensor and pipeline ranks take part in every token by collective operations, so
one token proves them all; data-parallel engines are proven one by one, by their counters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

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


def prove(http: Http, plan: LaunchPlan, *, deadline: float = FIRST_TOKEN, token: str = "") -> Proof:
    """Prove that ``plan`` generates through its served name, on every engine. ``deadline``: seconds for all of it.

    Raises ``ProofFailed``, which says at which stage, what the server said, and what to do where that is known.
    """
    started = clock.monotonic()
    until = started + deadline
    _prove_healthy(http)
    length = _prove_served(http, plan, token)
    before = _counters_before(http) if plan.engines > 1 else {}
    first = clock.monotonic()
    reply = _prove_completion(http, plan, until, token)
    first_seconds = clock.monotonic() - first
    engines = _prove_engines(http, plan, before, until, token) if plan.engines > 1 else {}
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


def _prove_completion(http: Http, plan: LaunchPlan, until: float, token: str) -> chat.Reply:
    attempts = ATTEMPTS
    while True:
        answer, reply = chat.ask(http, chat.payload(plan.served_name), timeout=_left(until), token=token)
        attempts -= 1
        if reply is None:
            raise _failed("the first completion", answer)
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


def _prove_engines(
    http: Http, plan: LaunchPlan, before: Mapping[str, EngineCounters], until: float, token: str
) -> dict[str, int]:
    """Send rounds of concurrent requests until every engine's counter has moved: the server spreads by load."""
    wanted = [str(engine) for engine in range(plan.engines)]
    after: Mapping[str, EngineCounters] = {}
    for number in range(ROUNDS):
        _send_round(http, plan, 2 * plan.engines * (number + 1), number, until, token)
        after = _settled(http, wanted, before, until)
        if not _unmoved(wanted, before, after):
            return {engine: _moved_by(before.get(engine, EngineCounters()), after[engine]) for engine in wanted}
        if until <= clock.monotonic():
            break
    raise _silent(plan, wanted, before, after)


def _send_round(http: Http, plan: LaunchPlan, count: int, number: int, until: float, token: str) -> None:
    def send(index: int) -> tuple[Response, chat.Reply | None]:
        body = chat.payload(plan.served_name, f"{chat.SEED_PROMPT} ({number}.{index})")
        return chat.ask(http, body, timeout=_left(until), token=token)

    with ThreadPoolExecutor(max_workers=min(count, _AT_ONCE)) as pool:
        replies = list(pool.map(send, range(count)))
    bad = [answer for answer, reply in replies if reply is None]
    if bad:
        raise _failed(f"{len(bad)} of {count} requests to all engines", bad[0])


def _settled(
    http: Http, wanted: Sequence[str], before: Mapping[str, EngineCounters], until: float
) -> dict[str, EngineCounters]:
    """Counters after a round; they follow the answers by an engine step or two, so look a few times."""
    after = _counters(http)
    for _ in range(_LOOKS):
        if not _unmoved(wanted, before, after) or until <= clock.monotonic():
            break
        clock.sleep(_SETTLE)
        after = _counters(http)
    return after


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
    places = ", ".join(f"engine {engine} ({_place(plan, int(engine))})" for engine in silent)
    return ProofFailed(
        f"{len(silent)} of {plan.engines} engines generated nothing: {places}",
        hint="the others serve; see the logs of the processes named, then `down` and `up`: the group restarts as one",
    )


def _place(plan: LaunchPlan, engine: int) -> str:
    return next((f"{p.name} on {p.node}" for p in plan.processes if engine in p.engines), "no process of the plan")


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


def _failed(stage: str, answer: Response) -> ProofFailed:
    hint = answer.hint or _HINTS.get(answer.status, _DEAD_HINT)
    return ProofFailed(
        f"{stage}: {answer.problem() or '200, but no choice in it'}", hint=hint, evidence=answer.text()[:2000]
    )
