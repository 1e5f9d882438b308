"""Scenarios of a profile: whether their source's sizes can be true, and where their settings lie."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.errors import ConfigError
from provision.serve.argv import engine_arguments
from provision.serve.environment import launcher_defaults
from provision.serve.layout import Layout, layout_of
from provision.serve.lint import lint
from provision.serve.profiles import Profile, ScenarioLayout, Weights, load_profile, profile_names
from provision.serve.releases import Release
from provision.serve.scenarios import judged, scenario_of
from tests.serve.clusters import QWEN3_NEXT, pairs, settings

HBM = 64 * 1024**3
W8A8 = "qwen3-next-80b-a3b-instruct-w8a8"
QWEN3_NEXT_PROFILES = [name for name in profile_names() if name.startswith("qwen3-next")]


def layout(hardware: str = "atlas-800-a3", profile: str = QWEN3_NEXT, **serve: object) -> Layout:
    return layout_of(pairs(settings(hardware, profile=profile, tensor_parallel_size=4, **serve)))


@pytest.mark.parametrize("name", QWEN3_NEXT_PROFILES)
def test_the_tables_of_the_document_are_there(name: str) -> None:
    rows = {key: each.engine_args for key, each in load_profile(name).scenarios.items()}
    assert set(rows) == {"high-throughput", "low-latency", "long-context-128k", "long-context-128k-cached"}
    lengths = {key: args["max-model-len"] for key, args in rows.items()}
    assert set(lengths.values()) == {16384, 131072}
    assert rows["long-context-128k-cached"]["enable-prefix-caching"] is True
    assert rows["long-context-128k"]["no-enable-prefix-caching"] is True
    for arguments in rows.values():
        assert arguments["speculative-config"] == {"method": "qwen3_next_mtp", "num_speculative_tokens": 3}
    assert {each.layout for each in load_profile(name).scenarios.values()} == {ScenarioLayout(2, 1, 1)}


@pytest.mark.parametrize(
    ("profile", "asks"),
    [
        (QWEN3_NEXT, ScenarioLayout(4, 4)),  # 163 GB over 4 devices are 40.8 each; 2 would have 81.5 of 68.7
        (W8A8, ScenarioLayout(2, 2)),  # 41 GB each: the two NPUs of the table, with the TP 2 that its notes advise
    ],
)
def test_the_printed_sizes_of_qwen3_next_cannot_be(profile: str, asks: ScenarioLayout) -> None:
    known = load_profile(profile)
    for scenario in known.scenarios.values():
        found = judged(known, scenario, HBM, 16)
        assert (found.valid, found.asks) == (False, asks)
        assert "TP 1 and DP 1 put" in found.reason
        assert "55.0 GB are there" in found.reason


def test_it_is_arithmetic_that_decides() -> None:
    known = load_profile(QWEN3_NEXT)
    scenario = known.scenarios["high-throughput"]
    assert judged(known, scenario, 4 * HBM, 16).valid
    # 8 devices hold 20.4 GB each, and 7.5 for work and a request: 34.4 of 40 GiB are enough, 27.5 of 32 are not.
    assert judged(known, scenario, 40 * 1024**3, 16).asks == ScenarioLayout(8, 8)
    assert judged(known, scenario, 40 * 1024**3, 4).asks is None
    assert judged(known, scenario, 32 * 1024**3, 16).asks is None


def test_weights_of_unknown_size_are_believed() -> None:
    known = load_profile(QWEN3_NEXT)
    nothing = Weights(0, 0, 0, "none", "not known", ())
    unknown: Profile = replace(known, weights=nothing)
    assert judged(unknown, known.scenarios["high-throughput"], HBM, 16).valid


def test_an_illegal_size_cannot_be_whatever_the_memory() -> None:
    known = load_profile(QWEN3_NEXT)
    scenario = replace(known.scenarios["high-throughput"], layout=ScenarioLayout(16, 16))
    found = judged(known, scenario, HBM, 16)
    assert (found.valid, found.asks) == (False, ScenarioLayout(4, 4))
    assert "16 query heads" in found.reason


@pytest.mark.parametrize("name", profile_names())
def test_every_scenario_has_a_layout_that_works(name: str) -> None:
    known = load_profile(name)
    for scenario in known.scenarios.values():
        assert judged(known, scenario, HBM, 16).asks, scenario.title
        assert scenario.source


@pytest.mark.parametrize("name", profile_names())
def test_every_scenario_is_sound_where_it_belongs(name: str) -> None:
    """On the newest release and the layout that it asks for, with no worry but that of memory."""
    known = load_profile(name)
    for key, scenario in known.scenarios.items():
        asks = judged(known, scenario, HBM, 16).asks
        assert asks
        nodes = -(-asks.npus // 16)
        given = settings(
            "atlas-800-a3",
            image="quay.io/ascend/vllm-ascend:v0.23.0-a3",
            profile=name,
            scenario=key,
            topology="single" if nodes == 1 else "data-parallel",
            tensor_parallel_size=asks.tensor_parallel_size,
            data_parallel_size=asks.data_parallel_size,
        )
        assert {violation.code for violation in lint(pairs(given, nodes))} <= {"S16"}, key
        assert not any(violation.severity == "fail" for violation in lint(pairs(given, nodes)))


def test_settings_lie_over_the_profile_and_under_the_operator() -> None:
    plain, chosen = layout(), layout(scenario="long-context-128k-cached")
    assert engine_arguments(plain, 0)["max-model-len"] == 32768
    arguments = engine_arguments(chosen, 0)
    assert arguments["max-model-len"] == 131072
    assert arguments["enable-prefix-caching"] is True
    assert "no-enable-prefix-caching" not in arguments
    assert arguments["max-num-seqs"] == 64  # of the profile
    own = layout(scenario="long-context-128k", max_model_len=100, engine_args={"max_num_batched_tokens": 1})
    assert engine_arguments(own, 0)["max-model-len"] == 100
    assert engine_arguments(own, 0)["max-num-batched-tokens"] == 1


def test_environment_lies_over_the_profile() -> None:
    chosen = layout(profile="kimi-k2.6-w4a8", scenario="short-requests-6k")
    assert launcher_defaults(layout(profile="kimi-k2.6-w4a8"), 0)["HCCL_BUFFSIZE"] == "600"
    assert launcher_defaults(chosen, 0)["HCCL_BUFFSIZE"] == "800"


def test_no_scenario_is_none() -> None:
    assert scenario_of(None, None) is None
    assert scenario_of(load_profile(QWEN3_NEXT), None) is None


@pytest.mark.parametrize(
    ("profile", "name", "said", "hint"),
    [
        (QWEN3_NEXT, "long-context", "no scenario of qwen3-next", "did you mean 'long-context-128k'? "),
        (QWEN3_NEXT, "xyz", "is called 'xyz'", "has high-throughput, long-context-128k, long-context-128k-cached"),
        ("glm-5.2-w8a8", "xyz", "is called 'xyz'", "has no scenarios"),
        (None, "high-throughput", "none is given", "set model.profile"),
    ],
)
def test_an_unknown_scenario_is_an_error(profile: str | None, name: str, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        lint(pairs(settings(profile=profile, scenario=name)))
    assert refused.value.message.startswith("serve.scenario: ")
    assert said in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("release", "works", "beside"),
    [
        ("0.10.0", None, ()),
        ("0.10.2rc1", False, ()),
        ("0.11.0", False, ()),
        ("0.13.0rc1", True, ("chunked-prefill",)),
        ("0.13.0", True, ("chunked-prefill", "full-graph")),
        ("0.18.0", True, ("chunked-prefill", "full-graph")),
        ("0.23.0", True, ("chunked-prefill", "full-graph", "prefix-caching")),
    ],
)
def test_mtp_of_qwen3_next_by_release(release: str, works: bool | None, beside: tuple[str, ...]) -> None:
    known = load_profile(QWEN3_NEXT).mtp.on(Release(release))
    assert (known.works if known else None) == works
    assert (known.beside if known else ()) == beside


def found(code: str, **given: Any) -> list[str]:
    sites = pairs(settings(given.pop("hardware", "atlas-800-a3"), profile=given.pop("profile", QWEN3_NEXT), **given))
    return [f"{v.severity} {v.reason}" for v in lint(sites) if v.code == code]


def test_as_given_takes_no_scenario() -> None:
    reasons = found("S09", tensor_parallel_size=4, scenario="low-latency", as_given=True)
    assert any("serve.scenario low-latency has no effect: serve.as_given" in reason for reason in reasons)
