"""What must be equal, what may differ, and what is not shown."""

from __future__ import annotations

from typing import Any

import pytest

from provision.checks import runner
from provision.checks.policy import Choice
from provision.checks.same_environment import arguments
from provision.findings import CheckOutcome, Comparison
from provision.inventory.model import Serve
from tests.checks.world import cluster, healthy, pair, settings


def compared(two: Any) -> CheckOutcome:
    (outcome,) = runner.run_cluster(two, Choice(only=("same_environment",)))
    return outcome


def unlike(**serve: Any) -> Any:
    """The second node serves with other settings."""
    own = settings()
    other = own.model_copy(update={"serve": own.serve.model_copy(update=serve)})
    return cluster(healthy(0, own), healthy(1, other))


def test_flags_and_words() -> None:
    argv = ("vllm", "serve", "/m", "--headless", "--max_model_len", "10", "--a.b=c", "--list", "x", "y")
    assert arguments(argv) == {
        "": "vllm serve /m",
        "headless": "on",
        "max-model-len": "10",
        "a.b": "c",
        "list": "x y",
    }


def test_what_a_server_has_for_itself_is_not_compared() -> None:
    """How it joins Ray, and its name and port among those that hand on KV caches."""
    serve = Serve(topology="ray", tensor_parallel_size=8, pipeline_parallel_size=2)
    assert compared(pair(settings("atlas-800-a2", serve=serve))).status == "pass"
    parts: dict[str, Any] = {"topology": "prefill-decode", "group_topology": "external-dp", "tensor_parallel_size": 4}
    hosts = [
        settings(serve=Serve(**parts, data_parallel_size=4, role=role, kv_transfer={"port": port}))
        for role, port in (("prefill", 36000), ("decode", 36100), ("decode", 36200))
    ]
    assert compared(cluster(*(healthy(index, own) for index, own in enumerate(hosts)))).status == "pass"


def test_every_shared_word_is_a_row_and_no_nodes_own() -> None:
    rows = {row.subject: row for row in compared(pair()).exhibits if isinstance(row, Comparison)}
    shared = {"command", "--tensor-parallel-size", "--data-parallel-size", "--data-parallel-address"}
    shared |= {"--data-parallel-rpc-port", "--served-model-name", "env HCCL_CONNECT_TIMEOUT"}
    own = {"--headless", "--port", "--host", "--data-parallel-start-rank", "env HCCL_IF_IP", "env VLLM_HOST_IP"}
    assert shared <= rows.keys()
    assert not own & rows.keys()
    assert all(row.same for row in rows.values())


@pytest.mark.parametrize(
    ("serve", "level", "said"),
    [
        ({"env": {"OMP_PROC_BIND": False}}, "fail", "env OMP_PROC_BIND is not the same everywhere: "),
        ({"gpu_memory_utilization": 0.8}, "warn", "--gpu-memory-utilization is not the same everywhere: "),
    ],
)
def test_a_difference_is_told_with_its_values_and_nodes(serve: dict[str, Any], level: str, said: str) -> None:
    outcome = compared(unlike(**serve))
    (finding,) = outcome.findings
    assert (finding.level, finding.summary.startswith(said)) == (level, True)
    assert "not set on atlas-1" in finding.summary
    assert "on atlas-2" in finding.summary


def test_what_may_be_a_secret_is_shown_as_a_digest() -> None:
    shown = repr(compared(unlike(env={"HF_TOKEN": "hf_very_secret"})))
    assert "hf_very_secret" not in shown
    assert "env HF_TOKEN is not the same everywhere" in shown


def test_a_layout_that_cannot_be_is_left_to_its_own_check() -> None:
    own = settings()
    wide = own.model_copy(update={"serve": own.serve.model_copy(update={"tensor_parallel_size": 64})})
    outcome = compared(cluster(healthy(0, wide), healthy(1, wide)))
    assert outcome.status == "skipped"
    assert outcome.reason.startswith("there is no launch plan: ")
