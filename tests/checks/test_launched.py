"""The checks of running servers: what they skip, whom they name, and that the key counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.checks import runner
from provision.facts.docker import ContainersValue
from provision.findings import CheckOutcome
from provision.http import Response
from provision.secrets import Secret
from tests.checks.world import cluster, launched, ours, serving, settings

NO_ANSWER = Response(0, error="nothing listens on 127.0.0.1:8000")


def judged(two: Any) -> dict[str, CheckOutcome]:
    return {outcome.check: outcome for outcome in runner.run_launched(two)}


def told(two: Any) -> dict[str, str]:
    """Status by check, of those that don't pass; a skipped one with its reason."""
    return {name: f"{o.status} {o.reason}".strip() for name, o in judged(two).items() if o.status != "pass"}


def test_all_is_well() -> None:
    assert told(launched()) == {"spec_decode": "skipped speculative decoding is not on"}


def test_a_dead_head_is_told_once() -> None:
    two = launched()
    two.nodes[0].facts["containers"] = ContainersValue((ours("exited", exit_code=1),), reachable=True)
    found = told(two)
    assert found["processes_alive"] == "fail"
    assert {name for name, text in found.items() if text.startswith("fail")} == {"processes_alive"}


def test_a_dead_worker_is_told_once() -> None:
    two = launched()
    two.nodes[1].facts["containers"] = ContainersValue(reachable=True)
    outcomes = judged(two)
    assert outcomes["processes_alive"].findings[0].summary.startswith("worker1 has no container")
    assert outcomes["functional"].reason.startswith("a process of the group does not run")


def test_a_server_that_does_not_answer_is_told_once() -> None:
    two = launched()
    two.nodes[0].server = replace(serving("any"), answer=NO_ANSWER, pages={})
    failing = {name for name, text in told(two).items() if text.startswith("fail")}
    assert failing == {"api_health"}


@pytest.mark.parametrize(
    ("key", "servers", "said"),
    [
        ("right", "right", ""),
        ("right", "other", "/v1/models: HTTP 401"),
        ("right", "", "answers without the API key"),
    ],
)
def test_the_key_is_sent_and_must_be_asked_for(key: str, servers: str, said: str) -> None:
    own = settings()
    serve = own.serve.model_copy(update={"api_key": Secret("literal", key)})
    two = launched(own.model_copy(update={"serve": serve}))
    two.nodes[0].server.token = servers
    outcomes = judged(two)
    assert said in "".join(finding.summary for finding in outcomes["api_health"].findings)
    assert bool(outcomes["api_health"].findings) is bool(said)
    assert outcomes["functional"].status != "fail"


def test_another_model_is_told_with_both_names() -> None:
    two = launched()
    two.nodes[0].server = serving("other-model", 2)
    assert "serves other-model, not Qwen3-Next" in judged(two)["api_health"].findings[0].summary


def test_a_part_of_the_cluster_is_not_taken_for_the_whole() -> None:
    alone = cluster(launched().nodes[1])
    reasons = {outcome.reason for name, outcome in judged(alone).items() if name != "log_scan"}
    assert reasons == {"only some of the cluster's hosts are looked at"}


def test_metrics_without_engines_say_what_to_change() -> None:
    two = launched()
    two.nodes[0].server.pages["/metrics"] = Response(200, b"# nothing\n")
    (finding,) = judged(two)["engines"].findings
    assert "disable-log-stats" in finding.remedy


def test_memory_of_the_others_dies_does_not_count() -> None:
    two = launched()
    dies = two.nodes[0].facts["npu-smi"].dies
    beyond = tuple(replace(die, hbm_used_mb=60000) if (die.device or 0) > 7 else die for die in dies)
    two.nodes[0].alter("npu-smi", dies=beyond)
    assert judged(two)["memory_symmetry"].status == "pass"
