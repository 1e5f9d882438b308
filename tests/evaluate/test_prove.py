from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from provision import clock
from provision.errors import ConnectionLost, LaunchFailed, ProofFailed
from provision.evaluate import chat
from provision.evaluate.prove import probe_ready, prove
from provision.http import Response

from .fake_server import NAME, FakeServer, plan


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "sleep", lambda seconds, stop=None: False)


def failure(server: FakeServer, engines: int = 1, **more: Any) -> ProofFailed:
    with pytest.raises(ProofFailed) as caught:
        prove(server, plan(engines), **more)
    return caught.value


def test_one_token_proves_one_engine() -> None:
    server = FakeServer()
    proof = prove(server, plan())
    assert (proof.model, proof.text, proof.tokens, proof.max_model_len) == (NAME, "I am Qwen.", 4, 4096)
    assert proof.engines == {}
    assert server.payloads == [chat.payload(NAME)]


def test_reasoning_is_generation_too() -> None:
    assert prove(FakeServer(said=lambda _: {"content": None, "reasoning": "Hm."}), plan()).text == "Hm."


@pytest.mark.parametrize("engines", [2, 4, 16])
def test_every_engine_is_proven_by_its_own_counter(engines: int) -> None:
    proof = prove(FakeServer(engines=engines), plan(engines))
    assert set(proof.engines) == {str(engine) for engine in range(engines)}
    assert all(count >= 4 for count in proof.engines.values())


def test_counters_that_follow_late_are_waited_for() -> None:
    server = FakeServer(engines=2, lag=3)
    assert set(prove(server, plan(2)).engines) == {"0", "1"}
    assert len(server.payloads) == 1 + 4


def test_an_engine_that_stays_silent_is_named_with_its_place() -> None:
    server = FakeServer(engines=3, deaf=(1,))
    wrong = failure(server, engines=3)
    assert wrong.message == "1 of 3 engines generated nothing: engine 1 (worker1 on atlas-2)"
    assert len(server.payloads) < 150


def test_what_an_engine_did_earlier_does_not_count() -> None:
    server = FakeServer(engines=2)
    prove(server, plan(2))
    server.deaf = (1,)
    assert "engine 1 (worker1 on atlas-2)" in failure(server, engines=2).message


def test_an_engine_that_holds_its_requests_is_named() -> None:
    wrong = failure(FakeServer(engines=3, stuck=2), engines=3)
    assert wrong.message.startswith("a request to all 3 engines: 127.0.0.1:8000 gave no answer within ")
    assert wrong.message.endswith("; engine 2 (worker2 on atlas-3) holds requests and generates nothing")


def test_an_engine_that_holds_the_very_first_request_is_named() -> None:
    wrong = failure(FakeServer(engines=2, stuck=0), engines=2)
    assert "engine 0 (head on atlas-1) holds requests" in wrong.message


def test_who_watches_can_end_a_proof_that_waits() -> None:
    answering = threading.Event()

    def said(prompt: str) -> dict[str, object]:
        answering.wait(10)
        return {"content": "late"}

    def watch() -> None:
        raise LaunchFailed("worker1 has ended")

    started = clock.monotonic()
    with pytest.raises(LaunchFailed, match="worker1 has ended"):
        prove(FakeServer(said=said), plan(), watch=watch)
    answering.set()
    assert clock.monotonic() - started < 5


def test_a_broken_connection_ends_the_proof() -> None:
    class Gone(FakeServer):
        def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response:
            raise ConnectionLost("gone")

    with pytest.raises(ConnectionLost):
        prove(Gone(), plan())


def test_without_counters_engines_cannot_be_told_apart() -> None:
    wrong = failure(FakeServer(engines=2, counts=False), engines=2)
    assert "counts nothing by engine" in wrong.message
    assert "disable-log-stats" in wrong.hint


DEAD = Response(500, b'{"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError"}}')


def test_healthy_and_listed_but_dead_at_the_first_token() -> None:
    wrong = failure(FakeServer(failing=DEAD))
    assert wrong.message == "the first completion: HTTP 500: EngineCore encountered an issue."
    assert "EngineCore" in wrong.evidence


@pytest.mark.parametrize(
    ("server", "says", "hint"),
    [
        (FakeServer(health=Response(503)), "not healthy: /health: HTTP 503", "engine has died"),
        (FakeServer(health=Response(0, error="nothing listens on x")), "not healthy: /health: nothing listens", "logs"),
        (FakeServer(health=Response(0, error="forbids", hint="AllowTcpForwarding")), "forbids", "AllowTcpForwarding"),
        (FakeServer(models={"other": 1}), "the server offers other, not qwen3_next", "another server"),
        (FakeServer(models={}), "the server offers nothing, not qwen3_next", "another server"),
        (FakeServer(key="k"), "/v1/models: HTTP 401: Unauthorized", "serve.api_key"),
        (FakeServer(said=lambda _: {"content": ""}, usage={"completion_tokens": 32}), "3 completions hold no text", ""),
        (FakeServer(failing=Response(200, b"{}")), "the first completion: 200, but no choice in it", ""),
        (FakeServer(failing=Response(0, error="gave no answer within 300 s")), "gave no answer within 300 s", "logs"),
    ],
)
def test_each_failure_says_what_and_what_to_do(server: FakeServer, says: str, hint: str) -> None:
    wrong = failure(server)
    assert says in wrong.message
    assert hint in wrong.hint


def test_a_reply_that_ends_before_its_first_word_is_asked_for_again() -> None:
    words: Iterator[str] = iter(["", "Hello"])
    assert prove(FakeServer(said=lambda _: {"content": next(words)}), plan()).text == "Hello"


def test_the_token_is_sent() -> None:
    assert prove(FakeServer(key="k"), plan(), token="k").tokens == 4


def test_a_deadline_that_has_passed_ends_the_rounds() -> None:
    server = FakeServer(engines=2, deaf=(1,))
    failure(server, engines=2, deadline=0.0)
    assert len(server.payloads) == 1 + 4


def test_a_look_at_a_ready_server() -> None:
    ready = probe_ready(FakeServer())
    assert (ready.connected, ready.healthy, ready.models, ready.problem, ready.dead) == (True, True, (NAME,), "", False)


@pytest.mark.parametrize(
    ("health", "connected", "dead", "blocked"),
    [
        (Response(0, error="nothing listens"), False, False, ""),
        (Response(0, error="forbids", hint="AllowTcpForwarding"), False, False, "AllowTcpForwarding"),
        (Response(503), True, True, ""),
        (Response(404), True, False, ""),
    ],
)
def test_a_look_at_one_that_is_not(health: Response, connected: bool, dead: bool, blocked: str) -> None:
    ready = probe_ready(FakeServer(health=health))
    assert (ready.connected, ready.healthy, ready.dead, ready.blocked) == (connected, False, dead, blocked)
    assert health.problem() in ready.problem
