from __future__ import annotations

import re
from itertools import count
from typing import Any

import pytest

from provision import clock
from provision.errors import UsageError
from provision.evaluate import chat
from provision.evaluate.verify import CaseResult, cases, direct, failed, garbage, verify
from provision.http import Response

from .fake_server import NAME, FakeRouter, FakeServer, at, plan, routed


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "sleep", lambda seconds, stop=None: False)


def good(prompt: str) -> dict[str, str]:
    return {"content": "17*23 = 391" if "17*23" in prompt else "The sea is wide and blue, and it never sleeps."}


def only(name: str, server: FakeServer, **plan_args: Any) -> CaseResult:
    (result,) = verify(at(server), plan(**plan_args), only=(name,))
    return result


def test_a_good_server_passes_all_cases_in_order() -> None:
    server = FakeServer(engines=2, said=good)
    results = verify(at(server), plan(2))
    assert [result.name for result in results if not result.ok] == []
    assert [result.name for result in results] == [case.name for case in cases()]
    assert not failed(results, strict=True)


def test_the_seeds_request_is_the_first_case() -> None:
    server = FakeServer(said=good)
    verify(at(server), plan())
    assert server.payloads[0] == chat.payload(NAME)
    assert cases()[0].name == "seed-chat"


@pytest.mark.parametrize(
    ("name", "server", "detail", "fatal"),
    [
        ("seed-chat", FakeServer(failing=Response(500, b'{"error": {"message": "dead"}}')), "HTTP 500: dead", True),
        ("seed-chat", FakeServer(said=lambda _: {"content": ""}), "no token generated (finish reason: length)", True),
        ("model", FakeServer(models={"a": 1, "b": 2}), "qwen3_next is not among: a, b", True),
        ("stream", FakeServer(stream_tail=()), "the stream ended without [DONE] after 3 chunks", True),
        ("stream", FakeServer(said=lambda _: {"content": ""}), "3 chunks, and no text in them", True),
        ("stream", FakeServer(stream_tail=('{"error": {"message": "dead"}}',)), "dead", True),
        ("stream", FakeServer(stream_tail=("oops",)), "a chunk is no JSON: oops", True),
        ("stream", FakeServer(failing=Response(0, error="nothing listens")), "nothing listens", True),
        (
            "unknown-model",
            FakeServer(models={NAME: 1, "qnext-no-such-model": 1}),
            "expected HTTP 404, got HTTP 200",
            True,
        ),
        ("arithmetic", FakeServer(), "no 391 in: I am Qwen.", False),
        ("readable", FakeServer(said=lambda _: {"content": "the " * 40}), "one word over and over", False),
        ("engines", FakeServer(failing=Response(500)), "the first completion: HTTP 500", True),
    ],
)
def test_each_case_can_fail(name: str, server: FakeServer, detail: str, fatal: bool) -> None:
    result = only(name, server)
    assert not result.ok
    assert result.detail.startswith(detail)
    assert failed([result]) is fatal
    assert failed([result], strict=True)


def test_an_answer_that_changes_is_a_warning() -> None:
    numbers = count()
    result = only("deterministic", FakeServer(said=lambda _: {"content": f"answer {next(numbers)}"}))
    assert (result.ok, result.level) == (False, "warn")
    assert "answer 0 / answer 1" in result.detail


def test_a_length_other_than_planned_is_found() -> None:
    result = only("model", FakeServer(), argv=("vllm", "serve", "--max-model-len", "32768"))
    assert result.detail == "max_model_len is 4096, planned 32768"


def test_an_answer_may_hold_the_result_in_its_reasoning() -> None:
    assert only("arithmetic", FakeServer(said=lambda _: {"content": None, "reasoning": "it is 391."})).ok


def test_a_silent_engine_fails_its_case() -> None:
    result = only("engines", FakeServer(engines=2, deaf=(1,)), engines=2)
    assert "engine 1 (worker1 on atlas-2)" in result.detail


def test_through_a_router_every_server_is_told() -> None:
    servers = [FakeServer(said=good), FakeServer(said=good)]
    by_name = {"replica0": servers[0], "replica1": servers[1], "router": FakeRouter(behind=servers)}
    made = routed({"replica0": [0], "replica1": [0]})
    results = verify(lambda process: by_name[process.name], made)
    assert [result.name for result in results if not result.ok] == []
    told = next(result.detail for result in results if result.name == "engines")
    assert re.fullmatch(r"replica0 on atlas-1: \d+ tokens; replica1 on atlas-2: \d+ tokens", told)


def test_a_server_is_asked_past_the_router() -> None:
    servers = {"replica0": FakeServer(failing=Response(500)), "replica1": FakeServer(said=good)}
    made = routed({"replica0": [0], "replica1": [0]})
    assert direct(made) == made.servers
    for server in direct(made):
        results = verify(lambda process: servers[process.name], made, server=server)
        assert failed(results) is (server.name == "replica0")


def test_halves_cannot_be_asked_one_by_one() -> None:
    made = routed({"p": [0], "d": [0]}, roles={"p": "prefill", "d": "decode"})
    with pytest.raises(UsageError, match="do a part of each answer"):
        direct(made)


def test_a_router_may_refuse_an_unknown_model_in_its_own_way() -> None:
    made = routed({"replica0": [0], "replica1": [0]})
    router = FakeServer(failing=Response(502))
    router.models = {**router.models, "qnext-no-such-model": 1}
    assert verify(at(router), made, only=("unknown-model",))[0].ok
    assert not verify(at(router), made, server=made.servers[0], only=("unknown-model",))[0].ok


def test_an_unknown_case_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no case named sead") as caught:
        verify(at(FakeServer()), plan(), only=("sead",))
    assert "seed-chat" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("I am Qwen, a model.", ""),
        ("!!!!!!!!!!!!!!!!!!!!!!!!!!!!", "a few characters over and over"),
        ("the " * 20, "one word over and over"),
        ("\ufffd\ufffd\ufffdabc", "mojibake"),
        ("大海很宽广，也很蓝。海浪轻轻拍打着沙滩，海鸥在天上飞来飞去。", ""),
        ("no no no no", ""),
        ("", ""),
    ],
)
def test_garbage(text: str, fault: str) -> None:
    assert garbage(text) == fault
