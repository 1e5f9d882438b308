"""``verify``: a set of small questions to a running cluster, each with a verdict. Cases are data: ``cases/*.yaml``.

The proof at the end of ``up`` says that tokens come out; this says that what comes out is right: the name, streaming,
errors, repeatability, sense.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from provision import clock
from provision.errors import ProofFailed, UsageError
from provision.evaluate import chat
from provision.evaluate.prove import FIRST_TOKEN, Reach, ServerProof, halves, prove, prove_server, served_models
from provision.http import Http, error_message
from provision.serve.plan import LaunchPlan, Process

CaseLevel = Literal["fail", "warn"]

_CASES = Path(__file__).parent / "cases"
_ANSWER = 120.0
_UNKNOWN = "qnext-no-such-model"


@dataclass(frozen=True, slots=True)
class Case:
    """One case of ``cases/*.yaml``; that file explains the keys."""

    name: str
    title: str
    kind: str
    level: CaseLevel = "fail"
    prompt: str = chat.SEED_PROMPT
    sampling: Mapping[str, object] = field(default_factory=dict)
    expect: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """A case's verdict. ``detail``: what was seen, or what was wrong. ``level`` says what a False ``ok`` means."""

    name: str
    title: str
    ok: bool
    level: CaseLevel
    detail: str
    seconds: float


class Wrong(Exception):
    """What a case found; ends the case."""


@dataclass(frozen=True, slots=True)
class _Target:
    """``server`` is who is asked, the entry point or one of several servers."""

    reach: Reach
    plan: LaunchPlan
    server: Process
    token: str

    @property
    def http(self) -> Http:
        return self.reach(self.server)


def cases(set_name: str = "functional") -> tuple[Case, ...]:
    """The cases of a set, in order."""
    return tuple(Case(**entry) for entry in yaml.safe_load((_CASES / f"{set_name}.yaml").read_text()))


def verify(
    reach: Reach, plan: LaunchPlan, *, server: Process | None = None, token: str = "", only: Sequence[str] = ()
) -> tuple[CaseResult, ...]:
    """Run the cases (those named in ``only``, else all) one after the other, against the entry point or, past it, one
    ``server``. A case that fails doesn't stop the rest.

    Raises ``UsageError`` for an unknown name.
    """
    target = _Target(reach, plan, server or plan.entry, token)
    return tuple(_judge(case, target) for case in _selected(only))


def direct(plan: LaunchPlan) -> tuple[Process, ...]:
    """The servers that can be asked past the entry point. Raises ``UsageError`` where none gives whole answers."""
    if halves(plan):
        raise UsageError(
            f"the servers of {plan.topology} do a part of each answer, so they cannot be asked one by one",
            hint="verify without --direct: its case engines asks until every server has done its part",
        )
    return plan.servers


def failed(results: Sequence[CaseResult], *, strict: bool = False) -> bool:
    """Whether these results mean failure; ``strict`` counts warnings too."""
    return any(not result.ok and (strict or result.level == "fail") for result in results)


def _selected(only: Sequence[str]) -> list[Case]:
    known = {case.name: case for case in cases()}
    strange = [name for name in only if name not in known]
    if strange:
        raise UsageError(f"no case named {strange[0]}", hint=f"cases: {', '.join(known)}")
    return [case for case in known.values() if not only or case.name in only]


def _judge(case: Case, target: _Target) -> CaseResult:
    started = clock.monotonic()
    try:
        ok, detail = True, _KINDS[case.kind](case, target)
    except Wrong as wrong:
        ok, detail = False, str(wrong)
    return CaseResult(case.name, case.title, ok, case.level, detail, clock.monotonic() - started)


def _chat(case: Case, target: _Target) -> str:
    reply = _ask(case, target)
    wanted = str(case.expect.get("contains", ""))
    if wanted not in reply.content + reply.reasoning:
        raise Wrong(f"no {wanted} in: {_short(reply.text)}")
    if case.expect.get("readable") and (fault := garbage(reply.text)):
        raise Wrong(f"{fault}: {_short(reply.text)}")
    return f"{reply.tokens} tokens: {_short(reply.text)}"


def _models(case: Case, target: _Target) -> str:
    answer = target.http.get("/v1/models", token=target.token)
    models = served_models(answer)
    name = target.plan.served_name
    if name not in models:
        raise Wrong(answer.problem() or f"{name} is not among: {', '.join(models) or 'nothing'}")
    wanted = _planned_lengths(target)
    if wanted and models[name] and models[name] not in wanted:
        raise Wrong(f"max_model_len is {models[name]}, planned {' or '.join(map(str, sorted(wanted)))}")
    return f"{name}, max_model_len {models[name] or 'not told'}"


def _stream(case: Case, target: _Target) -> str:
    body = {**_payload(case, target), "stream": True}
    pieces, done = [], False
    for data in target.http.stream(chat.CHAT, body, timeout=_ANSWER, token=target.token):
        done = data.strip() == "[DONE]"
        if not done:
            pieces.append(_piece(data))
    text = "".join(pieces)
    if not done:
        raise Wrong(f"the stream ended without [DONE] after {len(pieces)} chunks")
    if not text:
        raise Wrong(f"{len(pieces)} chunks, and no text in them")
    return f"{sum(map(bool, pieces))} chunks with text, then [DONE]: {_short(text)}"


def _piece(data: str) -> str:
    try:
        chunk = json.loads(data)
    except ValueError:
        raise Wrong(f"a chunk is no JSON: {_short(data)}") from None
    if error := error_message(chunk):
        raise Wrong(error)
    return chat.delta_text(chunk)


def _unknown(case: Case, target: _Target) -> str:
    answer, _ = chat.ask(target.http, chat.payload(_UNKNOWN, case.prompt), timeout=_ANSWER, token=target.token)
    by_router = target.server.kind == "router"  # it may put an error of its own in place of its servers'
    if not (answer.status >= 400 if by_router else answer.status == 404):
        raise Wrong(
            f"expected {'an error' if by_router else 'HTTP 404'}, got {answer.problem() or f'HTTP {answer.status}'}"
        )
    return answer.problem()


def _repeat(case: Case, target: _Target) -> str:
    first, second = _ask(case, target), _ask(case, target)
    if first.text != second.text:
        raise Wrong(
            f"{_short(first.text)} / {_short(second.text)} (HCCL_DETERMINISTIC=true makes reductions repeatable)"
        )
    return f"twice: {_short(first.text)}"


def _engines(case: Case, target: _Target) -> str:
    plan, server = target.plan, target.server
    try:
        if server.name == plan.head:
            shown = prove(target.reach, plan, deadline=FIRST_TOKEN, token=target.token).servers
        else:
            shown = (prove_server(target.reach, plan, server, deadline=FIRST_TOKEN, token=target.token),)
    except ProofFailed as failure:
        raise Wrong(failure.message) from failure
    return "; ".join(_server_shown(each, alone=len(shown) == 1) for each in shown)


def _server_shown(shown: ServerProof, *, alone: bool) -> str:
    engines = ", ".join(f"engine {engine}: {count} tokens" for engine, count in shown.engines.items())
    if alone:
        return engines or "one engine, and it generates"
    read = f"{shown.prompted} prompt tokens" if shown.role == "prefill" else ""
    return f"{shown.process} on {shown.node}: {read or engines or f'{shown.tokens} tokens'}"


_KINDS: Mapping[str, Callable[[Case, _Target], str]] = {
    "chat": _chat,
    "models": _models,
    "stream": _stream,
    "unknown": _unknown,
    "repeat": _repeat,
    "engines": _engines,
}


def garbage(text: str) -> str:
    """What marks ``text`` as the output of a broken model, or an empty string: wrong kernels and half-loaded weights
    repeat one piece for ever, or emit bytes that are no text [domain 8.3, case 8]."""
    if text.count("\ufffd") > max(2, len(text) // 20):
        return "mojibake"
    words = text.split()
    if len(words) >= 12 and Counter(words).most_common(1)[0][1] > 0.6 * len(words):
        return "one word over and over"
    dense = "".join(words)
    if len(dense) >= 24 and len(set(dense)) <= 3:
        return "a few characters over and over"
    return ""


def _ask(case: Case, target: _Target) -> chat.Reply:
    answer, reply = chat.ask(target.http, _payload(case, target), timeout=FIRST_TOKEN, token=target.token)
    if reply is None:
        raise Wrong(answer.problem() or "200, but no choice in it")
    if not reply.generated:
        raise Wrong(f"no token generated (finish reason: {reply.finish_reason or 'none'})")
    return reply


def _payload(case: Case, target: _Target) -> dict[str, object]:
    return chat.payload(target.plan.served_name, case.prompt, **case.sampling)


def _planned_lengths(target: _Target) -> set[int]:
    """Of the server that is asked; of all, where a router hands on the answer of any."""
    asked = target.plan.servers if target.server.kind == "router" else (target.server,)
    found = {_option(process.argv, "--max-model-len") for process in asked}
    return {int(value) for value in found} if all(value.isdigit() for value in found) else set()


def _option(argv: Sequence[str], name: str) -> str:
    return next((argv[i + 1] for i, word in enumerate(argv[:-1]) if word == name), "")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 80 else f"{flat[:79]}…"
