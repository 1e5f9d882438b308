"""The proof as a playbook's task: what a run ends with, and what a failed proof says."""

from __future__ import annotations

from typing import Any

import pytest

from provision.errors import FactError, LaunchFailed, ProofFailed
from provision.evaluate.prove import Proof
from provision.facts.router import RouterChoice, RouterChoiceValue
from provision.modules import prove
from provision.results import Result
from provision.secrets import Secret
from tests.modules.world import cluster, containers, drive, running, settings


def proven(*args: Any, **more: Any) -> Proof:
    return Proof("Qwen3-Next", "I am\n  Qwen.", 32, 1.0, 1.0)


def unproven(*args: Any, **more: Any) -> Proof:
    raise ProofFailed("1 of 2 engines generated nothing: engine 1", hint="down and up", evidence="counters")


def test_a_run_ends_with_endpoint_and_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "prove", proven)

    outcome = drive(prove.run(prove.Args(), running(cluster()))).outcome

    assert outcome.summary == {
        "endpoint": "http://10.0.0.1:8000",
        "model": "Qwen3-Next",
        "ranks": "head on atlas-1, worker1 on atlas-2 (2 engines, all generating)",
        "answer": "I am Qwen.",
    }
    assert outcome.next[0].startswith("curl http://10.0.0.1:8000/v1/chat/completions ")
    assert "Bearer" not in outcome.next[0]


def test_of_several_servers_it_tells_the_router_and_the_servers_by_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "prove", proven)
    made = cluster(settings(topology="replicas", data_parallel_size=1, replicas_per_node=2, router={"kind": "nginx"}))

    summary = drive(prove.run(prove.Args(), running(made))).outcome.summary

    assert summary["router"] == "nginx, router on atlas-1"
    assert summary["servers"] == "4 on 2 nodes: replica0, replica1 on atlas-1; replica2, replica3 on atlas-2"
    assert summary["engines"] == "4, all generating"
    assert "ranks" not in summary


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (RouterChoiceValue("nginx"), "nginx, router on atlas-1"),
        (RouterChoiceValue(), "router on atlas-1"),
        (FactError("docker hangs", Result("", 124, "")), "router on atlas-1"),
    ],
)
def test_a_router_that_chose_itself_is_told(monkeypatch: pytest.MonkeyPatch, said: Any, told: str) -> None:
    monkeypatch.setattr(prove, "prove", proven)
    made = running(cluster(settings(topology="replicas", data_parallel_size=1)))
    made.nodes[0].facts["router-choice"] = said

    assert drive(prove.run(prove.Args(), made)).outcome.summary["router"] == told
    assert RouterChoice("qnext") in prove.facts(prove.Args(), made.settings)
    assert RouterChoice("qnext") not in prove.facts(prove.Args(), settings())


def test_the_process_that_failed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unproven(*args: Any, **more: Any) -> Proof:
        raise ProofFailed("replica1 on atlas-2: no", hint="h", node="atlas-2", process="replica1")

    monkeypatch.setattr(prove, "prove", unproven)
    made = cluster(settings(topology="replicas", data_parallel_size=1))

    with pytest.raises(ProofFailed, match=r"^replica1 on atlas-2: no$") as caught:
        drive(prove.run(prove.Args(), running(made)))

    assert (caught.value.node, caught.value.hint) == ("atlas-2", "h")


def test_a_key_is_asked_for_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "prove", proven)
    made = cluster(settings(api_key=Secret.of("sk-of-the-test")))

    (command,) = drive(prove.run(prove.Args(), running(made))).outcome.next

    assert "Bearer YOUR-KEY" in command
    assert "sk-of" not in command


def test_a_failed_proof_keeps_its_hint_where_no_log_tells_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "prove", unproven)

    with pytest.raises(ProofFailed, match="head does not generate: 1 of 2 engines") as caught:
        drive(prove.run(prove.Args(), running(cluster())))

    assert (caught.value.hint, caught.value.evidence) == ("down and up", "counters")


def test_a_failed_proof_names_the_first_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "prove", unproven)
    made = running(cluster())
    made.nodes[1].texts = "==> qnext process worker1\nRuntimeError: NPU out of memory. Tried to allocate 2.00 GiB\n"

    with pytest.raises(ProofFailed, match=r"first cause: .*\(worker1 on atlas-2\)") as caught:
        drive(prove.run(prove.Args(), made))

    assert caught.value.node == "atlas-2"
    assert "NPU out of memory" in caught.value.evidence


def test_a_process_that_is_gone_needs_no_request() -> None:
    made = running(cluster())
    made.nodes[1].facts["containers"] = containers()

    with pytest.raises(LaunchFailed, match="worker1 has no container"):
        drive(prove.run(prove.Args(), made))
