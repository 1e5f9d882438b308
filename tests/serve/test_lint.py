"""Rules as data: each layout of layouts.yaml has exactly the violations it names, and the remedies work."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from provision import clock, yamlio
from provision.errors import ConfigError, LayoutError
from provision.inventory.model import Settings, Waiver
from provision.secrets import Secret
from provision.serve.build import build_plan
from provision.serve.layout import layout_of
from provision.serve.lint import alternatives, judge, lint
from provision.serve.plan import Violation
from provision.serve.shape import ModelShape
from tests.serve.clusters import QWEN3_NEXT, pairs, settings, sites

CASES: list[dict[str, Any]] = yamlio.parse(yamlio.read_text(Path(__file__).with_name("layouts.yaml"))).data


def violations(case: dict[str, Any]) -> tuple[Violation, ...]:
    shape = ModelShape(**case["shape"]) if "shape" in case else None
    if "hosts" not in case:
        return lint(pairs(_given(case, case["serve"]), case.get("nodes", 1)), shape=shape)
    each = [_given(case, {**case["serve"], **host}) for host in case["hosts"]]
    return lint(list(zip(sites(case["on"], len(each)), each, strict=True)), shape=shape)


def _given(case: dict[str, Any], serve: dict[str, Any]) -> Settings:
    return settings(
        case["on"],
        image=case.get("image", ""),
        profile=case.get("profile", QWEN3_NEXT),
        path=case.get("path", "/data/weights/model"),
        devices=tuple(case["devices"]) if "devices" in case else None,
        data_address=case.get("data_address"),
        compatibility=case.get("compatibility"),
        privileged=case.get("privileged", False),
        **serve,
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_layout_has_the_violations_it_names(case: dict[str, Any]) -> None:
    found = violations(case)
    for severity in ("fail", "warn"):
        expected = case.get(f"{severity}s", {})
        of_kind = [violation for violation in found if violation.severity == severity]
        assert {violation.code for violation in of_kind} == set(expected), of_kind
        for code, text in expected.items():
            assert any(text in violation.reason for violation in of_kind if violation.code == code), of_kind
    assert all(violation.source and violation.remedy for violation in found)
    if "remedy" in case:
        assert case["remedy"] in found[0].remedy
    for code in case.get("passes", ()):
        assert code not in {violation.code for violation in found}, f"{case['name']} is to pass {code}"


def test_names_are_unique() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("hardware", ["atlas-800-a2", "atlas-800-a3"])
def test_every_alternative_offered_is_valid(hardware: str, count: int) -> None:
    asked = layout_of(pairs(settings(hardware, profile=QWEN3_NEXT, tensor_parallel_size=16), count))
    offered = alternatives(asked)
    assert offered
    for text in offered:
        name, _, sizes = text.partition(" with ")
        words = sizes.replace(" and ", " ").split()
        given = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        build_plan(pairs(settings(hardware, profile=QWEN3_NEXT, topology=name, **given), count))


def test_no_alternative_where_nothing_fits() -> None:
    given = settings("atlas-800-a2", profile=QWEN3_NEXT, devices=(0,))
    found = lint(pairs(given))
    assert "more nodes or devices" in found[0].remedy


def test_smaller_devices_are_taken_into_account() -> None:
    given = settings("atlas-800-a2", profile=QWEN3_NEXT, tensor_parallel_size=4)
    small = [(replace(site, device_bytes=32 * 1024**3), given) for site in sites("atlas-800-a2")]
    assert [violation.code for violation in lint(small)] == ["S16"]
    assert "tensor_parallel_size 8" in lint(small)[0].remedy


def test_the_plan_is_refused_with_all_reasons() -> None:
    given = settings(profile=QWEN3_NEXT, tensor_parallel_size=32)
    with pytest.raises(LayoutError) as refused:
        build_plan(pairs(given))
    codes = [str(error).split(":")[0] for error in (refused.value, *refused.value.others)]
    assert codes == ["S04", "S03"]
    assert "section 9.1" in str(refused.value)
    assert "valid here: single with tensor_parallel_size 8" in refused.value.hint
    assert refused.value.exit_code == 2


def test_nodes_must_have_addresses_of_their_own() -> None:
    given = settings(profile=QWEN3_NEXT, topology="data-parallel", tensor_parallel_size=4, data_parallel_size=8)
    first, second = sites("atlas-800-a3", 2)
    for bad, text in [
        (replace(second, address=""), "no data address is known"),
        (replace(second, address="node2.example"), "is no IPv4 address"),
        (replace(second, address="fe80::1"), "is no IPv4 address"),
        (replace(second, address=first.address), "have the same data address"),
    ]:
        with pytest.raises(LayoutError, match=r"^S01: ") as refused:
            build_plan([(first, given), (bad, given)])
        assert text in str(refused.value)
        assert "data_address" in refused.value.hint
        assert lint([(first, given), (bad, given)]) == ()


def test_one_node_needs_no_address() -> None:
    given = settings("cpu")
    plan = build_plan([(replace(site, address=""), given) for site in sites("cpu")])
    assert plan.endpoint == "http://node1:8000"


def test_nodes_agree_on_what_the_layout_is_made_of() -> None:
    sizes = {"topology": "data-parallel", "tensor_parallel_size": 4, "data_parallel_size": 8}
    one = settings(**sizes)
    for other, severity, text in [
        (settings(**sizes, port=9000), "fail", "serve.port of node2"),
        (settings(**sizes, image="quay.io/ascend/vllm-ascend:v0.23.0-a3"), "fail", "install.image of node2"),
        (settings(**sizes, engine_args={"max-num-seqs": 3}), "fail", "argument max-num-seqs of node2"),
        (settings(**sizes, gpu_memory_utilization=0.9), "warn", "argument gpu-memory-utilization of node2"),
        (settings(**sizes, engine_args={"additional-config": {"a": 1}}), "warn", "argument additional-config of node2"),
        (settings(**sizes, env={"HCCL_BUFFSIZE": 512}), "fail", "serve.env HCCL_BUFFSIZE of node2"),
    ]:
        first, second = sites("atlas-800-a3", 2)
        found = lint([(first, one), (second, other)])
        assert [(violation.code, violation.severity) for violation in found] == [("S07", severity)], found
        assert text in found[0].reason


def test_nodes_may_differ_in_what_is_harmless() -> None:
    sizes = {"topology": "data-parallel", "tensor_parallel_size": 4, "data_parallel_size": 8}
    first, second = sites("atlas-800-a3", 2)
    assert lint([(first, settings(**sizes)), (second, settings(**sizes, env={"VLLM_LOGGING_LEVEL": "DEBUG"}))]) == ()


def test_an_unknown_profile_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError) as refused:
        lint(pairs(settings(profile="qwen3-next-80b-instruct")))
    assert "did you mean 'qwen3-next-80b-a3b-instruct'?" in refused.value.hint


def test_failures_come_first() -> None:
    given = settings(tensor_parallel_size=32, env={"HF_TOKEN": "x"})
    assert [violation.severity for violation in judge(layout_of(pairs(given)))] == ["fail", "warn"]


@pytest.mark.parametrize(
    ("checks", "refused"),
    [
        ({}, True),
        ({"S04": "fail"}, True),
        ({"S04": {"level": "fail"}}, True),
        ({"s04": {"level": "warn"}}, False),
        ({"S04": {"other": 1}}, True),
        ({"layout": "warn"}, False),
        ({"layout": "warn", "S04": "fail"}, True),
    ],
)
def test_a_level_may_stand_alone_or_beside_thresholds(checks: dict[str, Any], refused: bool) -> None:
    given = settings("atlas-800-a3", profile=QWEN3_NEXT, tensor_parallel_size=16).model_copy(update={"checks": checks})
    try:
        build_plan(pairs(given))
    except LayoutError:
        assert refused
    else:
        assert not refused


@pytest.mark.parametrize(
    ("name", "until", "finding", "refused"),
    [
        ("S04", "2026-11-24", "", False),
        ("S04", "2026-11-23", "", True),
        ("s04", "2027-01-01", "tensor_parallel_size 16", False),
        ("S04", "2027-01-01", "something else", True),
        ("layout", "2027-01-01", "", False),
        ("S05", "2027-01-01", "", True),
    ],
)
def test_a_waived_rule_stops_no_launch_until_its_day(
    monkeypatch: pytest.MonkeyPatch, name: str, until: str, finding: str, refused: bool
) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime(2026, 11, 24, 12).timestamp())
    waiver = Waiver(reason="tried here", until=date.fromisoformat(until), finding=finding)
    given = settings("atlas-800-a3", profile=QWEN3_NEXT, tensor_parallel_size=16)
    given = given.model_copy(update={"waive": {name: waiver}})
    try:
        plan = build_plan(pairs(given))
    except LayoutError:
        assert refused
    else:
        assert not refused
        assert plan.warnings[0].startswith("S04: tensor_parallel_size 16")


def test_an_operator_may_lower_a_rule_of_judgement_but_not_of_arithmetic() -> None:
    lowered = {"checks": {"S04": "warn", "S03": "off"}}
    given = settings("atlas-800-a3", profile=QWEN3_NEXT, tensor_parallel_size=16).model_copy(update=lowered)
    plan = build_plan(pairs(given))
    assert plan.warnings[0].startswith("S04: tensor_parallel_size 16")
    too_big = settings("atlas-800-a3", tensor_parallel_size=32).model_copy(update=lowered)
    with pytest.raises(LayoutError, match=r"^S03"):
        build_plan(pairs(too_big))


@pytest.mark.parametrize("topology", ["single", "replicas", "data-parallel", "external-dp", "hybrid-dp", "ray"])
@pytest.mark.parametrize("hardware", ["atlas-800-a3", "cpu"])
def test_sizes_beyond_all_clusters_are_judged_without_seating_them(hardware: str, topology: str) -> None:
    """Else this would end for want of memory."""
    huge = settings(hardware, topology=topology, data_parallel_size=10**9, tensor_parallel_size=10**9)
    shape = ModelShape(heads=10**12, kv_heads=10**12, layers=1)
    found = lint(pairs(huge, 2), shape=shape)
    assert any(violation.severity == "fail" for violation in found)


def test_a_large_cluster_is_judged() -> None:
    sizes = {"topology": "data-parallel", "tensor_parallel_size": 4, "data_parallel_size": 128}
    nodes = sites("atlas-800-a3", 64)
    each = [(site, settings(profile=QWEN3_NEXT, data_address=site.address, **sizes)) for site in nodes]
    assert lint(each) == ()


def test_a_variable_that_is_secret_and_in_clear_is_refused() -> None:
    given = settings(tensor_parallel_size=4, env={"HF_TOKEN": "x"}, secret_env={"HF_TOKEN": Secret.of("x")})
    told = [v.reason for v in lint(pairs(given)) if v.severity == "fail"]
    assert told == ["HF_TOKEN is in serve.env and in serve.secret_env, and the one in clear would count"]
