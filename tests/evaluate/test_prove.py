from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from provision import clock
from provision.errors import ConnectionLost, LaunchFailed, ProofFailed
from provision.evaluate import chat
from provision.evaluate.prove import Reach, probe_ready, prove, prove_server
from provision.http import Response
from provision.serve.plan import LaunchPlan

from .fake_server import NAME, FakeRouter, FakeServer, at, plan, routed


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "sleep", lambda seconds, stop=None: False)


def failure(server: FakeServer, engines: int = 1, **more: Any) -> ProofFailed:
    with pytest.raises(ProofFailed) as caught:
        prove(at(server), plan(engines), **more)
    return caught.value


def test_one_token_proves_one_engine() -> None:
    server = FakeServer()
    proof = prove(at(server), plan())
    assert (proof.model, proof.text, proof.tokens, proof.max_model_len) == (NAME, "I am Qwen.", 4, 4096)
    assert proof.engines == {}
    assert server.payloads == [chat.payload(NAME)]


def test_reasoning_is_generation_too() -> None:
    assert prove(at(FakeServer(said=lambda _: {"content": None, "reasoning": "Hm."})), plan()).text == "Hm."


@pytest.mark.parametrize("engines", [2, 4, 16])
def test_every_engine_is_proven_by_its_own_counter(engines: int) -> None:
    proof = prove(at(FakeServer(engines=engines)), plan(engines))
    assert set(proof.engines) == {str(engine) for engine in range(engines)}
    assert all(count >= 4 for count in proof.engines.values())


def test_counters_that_follow_late_are_waited_for() -> None:
    server = FakeServer(engines=2, lag=3)
    assert set(prove(at(server), plan(2)).engines) == {"0", "1"}
    assert len(server.payloads) == 1 + 4


def test_an_engine_that_stays_silent_is_named_with_its_place() -> None:
    server = FakeServer(engines=3, deaf=(1,))
    wrong = failure(server, engines=3)
    assert wrong.message == "1 of 3 engines generated nothing: engine 1 (worker1 on atlas-2)"
    assert len(server.payloads) < 150


def test_what_an_engine_did_earlier_does_not_count() -> None:
    server = FakeServer(engines=2)
    prove(at(server), plan(2))
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
        prove(at(FakeServer(said=said)), plan(), watch=watch)
    answering.set()
    assert clock.monotonic() - started < 5


def test_a_broken_connection_ends_the_proof() -> None:
    class Gone(FakeServer):
        def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response:
            raise ConnectionLost("gone")

    with pytest.raises(ConnectionLost):
        prove(at(Gone()), plan())


def test_without_counters_engines_cannot_be_told_apart() -> None:
    wrong = failure(FakeServer(engines=2, counts=False), engines=2)
    assert "counts nothing by engine" in wrong.message
    assert "disable-log-stats" in wrong.hint


# ---- several servers


def reaching(servers: Mapping[str, FakeServer]) -> Reach:
    return lambda process: servers[process.name]


def wrong(servers: Mapping[str, FakeServer], made: LaunchPlan, **more: Any) -> ProofFailed:
    with pytest.raises(ProofFailed) as caught:
        prove(reaching(servers), made, **more)
    return caught.value


REPLICAS = {"replica0": [0], "replica1": [0], "replica2": [0]}


def replicas(*left_out: str, **changed: FakeServer) -> dict[str, FakeServer]:
    servers = {name: changed.get(name) or FakeServer() for name in REPLICAS}
    heard = [server for name, server in servers.items() if name not in left_out]
    return {**servers, "router": FakeRouter(behind=heard)}


def test_each_replica_is_asked_and_then_the_router() -> None:
    servers = replicas()
    proof = prove(reaching(servers), routed(REPLICAS))
    assert [(s.process, s.node) for s in proof.servers] == [(f"replica{n}", f"atlas-{n + 1}") for n in range(3)]
    assert all(s.tokens >= 8 and s.engines == {} for s in proof.servers)
    assert (proof.engines, proof.tokens) == ({}, 4)


def test_a_replica_that_does_not_generate_is_named_although_the_router_avoids_it() -> None:
    error = wrong(replicas("replica1", replica1=FakeServer(failing=DEAD)), routed(REPLICAS))
    assert error.message == "replica1 on atlas-2: the first completion: HTTP 500: EngineCore encountered an issue."
    assert (error.node, error.process) == ("atlas-2", "replica1")


def test_a_replica_that_the_router_does_not_know_is_named() -> None:
    error = wrong(replicas("replica2"), routed(REPLICAS))
    assert error.message == ("of what router on atlas-1 was asked, 1 of 3 servers had no share: replica2 on atlas-3")
    assert (error.node, error.process) == ("atlas-1", "router"), "the replica has answered when it was asked"
    assert "log of router" in error.hint


def test_an_ill_replica_is_named_before_the_router_is_asked() -> None:
    servers = replicas(replica2=FakeServer(health=Response(503)))
    error = wrong(servers, routed(REPLICAS))
    assert error.message == "replica2 on atlas-3: not healthy: /health: HTTP 503"
    assert servers["router"].payloads == []


def test_a_router_that_is_well_is_no_proof() -> None:
    class Empty(FakeRouter):
        def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response:
            return Response(200)

    error = wrong({**replicas(), "router": Empty()}, routed(REPLICAS))
    assert error.message == "router on atlas-1: the first completion: 200, but no choice in it"


@pytest.mark.parametrize("first", [0, 2])
def test_an_api_for_each_node_proves_its_own_engines(first: int) -> None:
    """``first``: whether the second server labels its engines from 0 or by their ranks."""
    servers = {"node0": FakeServer(engines=2), "node1": FakeServer(engines=2, first=first)}
    made = routed({"node0": [0, 1], "node1": [2, 3]}, shared=True)
    proof = prove(reaching({**servers, "router": FakeRouter(behind=list(servers.values()))}), made)
    assert [set(server.engines) for server in proof.servers] == [{"0", "1"}, {"2", "3"}]


def test_a_silent_engine_behind_one_of_several_servers_is_named() -> None:
    servers = {"node0": FakeServer(engines=2), "node1": FakeServer(engines=2, first=2, deaf=(1,))}
    made = routed({"node0": [0, 1], "node1": [2, 3]}, shared=True)
    error = wrong({**servers, "router": FakeRouter(behind=list(servers.values()))}, made)
    assert error.message == "node1 on atlas-2: 1 of 2 engines generated nothing: engine 3 (node1 on atlas-2)"


ROLES = {"prefill0": "prefill", "prefill1": "prefill", "decode": "decode"}
HALVES = routed({"prefill0": [0], "prefill1": [0], "decode": [0, 1]}, roles=ROLES)


def divided(**changed: FakeServer) -> dict[str, FakeServer]:
    made = {"prefill0": FakeServer(), "prefill1": FakeServer(), "decode": FakeServer(engines=2)}
    return {**made, **changed}


def test_halves_are_proven_by_the_entry_point_alone() -> None:
    servers = divided()
    proxy = FakeRouter(readers=[servers["prefill0"], servers["prefill1"]], behind=[servers["decode"]])
    proof = prove(reaching({**servers, "router": proxy}), HALVES)
    shown = {server.process: server for server in proof.servers}
    assert shown["prefill0"].prompted >= 9
    assert shown["prefill1"].prompted >= 9
    assert set(shown["decode"].engines) == {"0", "1"}
    assert len(servers["decode"].payloads) == len(servers["prefill0"].payloads) + len(servers["prefill1"].payloads)


@pytest.mark.parametrize(
    ("readers", "changed", "says"),
    [
        (["prefill0"], {}, "prefill1 on atlas-2 read no prompt"),
        ([], {}, "prefill0 on atlas-1 read no prompt, prefill1 on atlas-2 read no prompt"),
        (
            ["prefill0", "prefill1"],
            {"decode": FakeServer(engines=2, deaf=(1,))},
            "decode on atlas-3 (engine 1 of 2) generated nothing",
        ),
    ],
)
def test_a_half_that_has_no_share_is_named(readers: list[str], changed: dict[str, FakeServer], says: str) -> None:
    servers = divided(**changed)
    proxy = FakeRouter(readers=[servers[name] for name in readers], behind=[servers["decode"]])
    assert wrong({**servers, "router": proxy}, HALVES).message.endswith(f"no share: {says}")


def test_one_server_of_several_can_be_proven_alone() -> None:
    servers = replicas()
    made = routed(REPLICAS)
    shown = prove_server(reaching(servers), made, made.process("replica1"))
    assert (shown.process, shown.tokens) == ("replica1", 4)
    assert servers["replica0"].payloads == []


def test_who_watches_can_end_a_proof_of_several() -> None:
    answering = threading.Event()

    def said(prompt: str) -> dict[str, object]:
        answering.wait(10)
        return {"content": "late"}

    def watch() -> None:
        raise LaunchFailed("replica1 has ended")

    slow = FakeServer(said=said)
    with pytest.raises(LaunchFailed, match="replica1 has ended"):
        prove(reaching(replicas("replica1", replica1=slow)), routed(REPLICAS), watch=watch)
    answering.set()


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
    assert prove(at(FakeServer(said=lambda _: {"content": next(words)})), plan()).text == "Hello"


def test_the_token_is_sent() -> None:
    assert prove(at(FakeServer(key="k")), plan(), token="k").tokens == 4


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
