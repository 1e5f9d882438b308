"""The adviser: what it calls best, valid and rejected for known clusters, and that its advice works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision import yamlio
from provision.inventory.model import Settings
from provision.serve.advise import EVIDENCE, PURPOSES, Advice, Row, advise, paste
from provision.serve.build import build_plan
from provision.serve.candidates import EVERY, Candidate, asked, candidates, made
from provision.serve.layout import Layout, layout_of
from provision.serve.lint import violations
from provision.serve.plan import Site
from provision.serve.shape import ModelShape
from provision.serve.topologies.base import topologies
from tests.serve.clusters import QWEN3_NEXT, pairs, settings, sites

CASES: list[dict[str, Any]] = yamlio.parse(yamlio.read_text(Path(__file__).with_name("advice.yaml"))).data


def layout(case: dict[str, Any]) -> Layout:
    given = settings(
        case["on"],
        image=case.get("image", ""),
        profile=case.get("profile"),
        **case.get("serve", {"topology": "single"}),
    )
    shape = ModelShape(**case["shape"]) if "shape" in case else None
    return layout_of(pairs(given, case.get("nodes", 1)), shape)


def short(row: Row) -> str:
    return " ".join(row.candidate.short.split())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_advice_for_a_known_cluster(case: dict[str, Any]) -> None:
    given = layout(case)
    advice = advise(given, "throughput")
    by_status = {
        status: {short(row): row for row in advice.of(status)} for status in ("valid", "unadvised", "rejected")
    }
    for name in case.get("valid", ()):
        assert name in by_status["valid"], (name, list(by_status["valid"]))
    for name in case.get("unadvised", ()):
        assert name in by_status["unadvised"]
    for name, code in case.get("rejected", {}).items():
        row = by_status["rejected"][name]
        assert code in {violation.code for violation in row.failures}
        assert row.failures[0].reason in row.why
        assert row.failures[0].source in row.why
    for purpose, name in case.get("best", {}).items():
        assert short(advice.ranked(purpose).of("valid")[0]) == name


def pasted(given: Layout, row: Row) -> list[tuple[Site, Settings]]:
    """The hosts of a layout with what the advice says to paste, as an inventory would be read again."""
    split = row.candidate.prefill.nodes if row.candidate.prefill else 0
    found = []
    for index, (site, before) in enumerate(zip(given.sites, given.settings, strict=True)):
        role = ("prefill" if index < split else "decode") if split else ""
        keys = {**paste(given, row.candidate), **row.candidate.of_role(role)}
        serve = {**before.serve.model_dump(exclude_unset=True), **keys}
        found.append((site, Settings.model_validate({**before.model_dump(exclude_unset=True), "serve": serve})))
    return found


@pytest.mark.parametrize(("hardware", "count"), [("atlas-800-a3", 1), ("atlas-800-a2", 2), ("cpu", 2)])
def test_what_is_advised_can_be_launched(hardware: str, count: int) -> None:
    profile = None if hardware == "cpu" else QWEN3_NEXT
    serve = {"pipeline_parallel_size": 2, "data_parallel_size": 3, "replicas_per_node": 1, "group_topology": "single"}
    given = layout_of(pairs(settings(hardware, profile=profile, **serve), count))
    advice = advise(given, "throughput")
    assert advice.of("valid")
    for row in (*advice.of("valid"), *advice.of("unadvised")):
        plan = build_plan(pasted(given, row))
        assert plan.topology == row.candidate.topology
        if row.candidate.prefill is None:
            assert plan.engines == row.numbers.engines, row.text


def test_a_rejected_layout_is_what_lint_refuses() -> None:
    given = layout_of(pairs(settings(profile=QWEN3_NEXT, topology="data-parallel", data_parallel_size=2), 2))
    advice = advise(given, "latency")
    assert advice.asked.status == "rejected"
    assert advice.rank is None
    refused = [violation for violation in violations(given) if violation.severity == "fail"]
    assert list(advice.asked.failures) == refused
    assert not {short(row) for row in advice.of("valid")} & {short(row) for row in advice.of("rejected")}


def test_the_layout_asked_for_is_marked_and_ranked() -> None:
    serve = {"topology": "data-parallel", "tensor_parallel_size": 4, "data_parallel_size": 8}
    advice = advise(layout_of(pairs(settings(profile=QWEN3_NEXT, **serve), 2)), "throughput")
    assert [row.asked for row in advice.rows].count(True) == 1
    assert advice.rank is not None
    assert advice.of("valid")[advice.rank - 1] == advice.asked
    assert advice.asked.known
    assert advice.asked.traffic.per_token == 2 * 48


def test_a_layout_that_nobody_would_try_is_ranked_too() -> None:
    serve = {"topology": "replicas", "tensor_parallel_size": 4, "replicas_per_node": 1}
    advice = advise(layout_of(pairs(settings(profile=QWEN3_NEXT, **serve), 2)), "throughput")
    assert advice.asked.numbers.engines == 2
    assert advice.asked.numbers.idle == 24


def test_what_no_layout_mends_is_said_once() -> None:
    given = settings(profile=QWEN3_NEXT, env={"VLLM_API_KEY": "x", "HF_TOKEN": "y"})
    advice = advise(layout_of(pairs(given)), "throughput")
    assert {violation.code for violation in advice.everywhere} == {"S20"}
    assert advice.of("valid")
    assert not any(violation.code == "S20" for row in advice.rows for violation in (*row.failures, *row.warnings))


def test_a_model_that_is_not_known_is_said_to_be() -> None:
    advice = advise(layout_of(pairs(settings("atlas-800-a3", image="registry.example/own:1"), 2)), "context")
    text = "\n".join(advice.unknown)
    assert "heads and experts of the model are not known" in text
    assert "memory was not judged" in text
    assert "names no release" in text
    assert all(row.numbers.cache is None for row in advice.of("valid"))


def test_nothing_is_valid_where_nothing_fits() -> None:
    advice = advise(layout_of(pairs(settings("atlas-800-a2", profile="deepseek-v3.1"))), "throughput")
    assert advice.of("valid") == ()
    assert all(row.failures for row in advice.rows)


def test_prefill_and_decode_of_the_inventory_are_recognised() -> None:
    common = {"topology": "prefill-decode", "tensor_parallel_size": 4, "data_parallel_size": 4}
    each = [settings(profile=QWEN3_NEXT, role=role, **common) for role in ("prefill", "decode")]
    advice = advise(layout_of(list(zip(sites("atlas-800-a3", 2), each, strict=True))), "throughput")
    assert short(advice.asked) == "prefill-decode 1:1 P 4x4 D 4x4"
    assert advice.asked.traffic.text == "the KV cache once a request"
    assert [short(row) for row in advice.rows].count("prefill-decode 1:1 P 4x4 D 4x4") == 1


def test_the_order_is_the_same_each_time_and_by_purpose() -> None:
    given = layout_of(pairs(settings("atlas-800-a2", profile=QWEN3_NEXT), 2))
    orders: dict[str, list[str]] = {}
    advice = advise(given, "latency")
    assert advice == advise(given, "throughput").ranked("latency")
    for purpose in PURPOSES:
        orders[purpose] = [row.text for row in advice.ranked(purpose).of("valid")]
    assert len({tuple(order) for order in orders.values()}) == 3
    assert all(sorted(order) == sorted(orders["latency"]) for order in orders.values())


def test_more_cache_is_never_worse_for_context() -> None:
    advice: Advice = advise(layout_of(pairs(settings("atlas-800-a2", profile=QWEN3_NEXT), 2)), "context")
    plain = [row for row in advice.of("valid") if row.evidence.level == 0 and not row.warnings]
    reach = [(min(row.numbers.cache or 0, row.numbers.context), row.numbers.contexts) for row in plain]
    assert reach == sorted(reach, reverse=True)


def test_every_topology_is_enumerated_and_judged() -> None:
    assert set(EVERY) == set(topologies()) == EVIDENCE.keys()
    given = layout_of(pairs(settings(profile=QWEN3_NEXT), 2))
    assert {candidate.topology for candidate in candidates(given)} == set(EVERY) - {"single"}


def test_a_candidate_is_found_again_in_its_layout() -> None:
    for count in (1, 2, 4):
        given = layout_of(pairs(settings(profile=QWEN3_NEXT), count))
        for candidate in candidates(given):
            assert asked(made(given, candidate)) == candidate


def test_splits_of_many_nodes_stay_few() -> None:
    given = layout_of(pairs(settings(profile=QWEN3_NEXT), 64))
    every = list(candidates(given))
    assert len(every) < 200
    assert Candidate("data-parallel", 8, 128) in every
