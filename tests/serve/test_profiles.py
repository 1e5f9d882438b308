"""The shipped profiles are whole and agree with themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.serve import profiles
from provision.serve.argv import computed, normal
from provision.serve.build import build_plan
from provision.serve.profiles import load_profile, profile_names
from provision.serve.releases import Release, parse_release
from tests.serve.clusters import pairs, settings

EVERY = pytest.mark.parametrize("name", profile_names())


@EVERY
def test_profile_is_consistent(name: str) -> None:
    profile = load_profile(name)
    assert profile.weights.expert_bytes < profile.weights.total_bytes < profile.weights.disk_bytes
    assert all(profile.shape.heads % size == 0 for size in profile.tensor_parallel.legal)
    for extras in (profile.always, profile.multi_node, profile.mtp):
        assert extras.source
        assert all(normal(argument) == argument and not computed(argument) for argument in extras.engine_args)
    table = [Release(note.release) for note in profile.releases.table]
    assert table == sorted(table)
    assert all(parse_release(note.release) for note in profile.releases.table)
    assert Release(profile.releases.first) <= table[0]


@EVERY
def test_recommended_scenarios_are_valid(name: str) -> None:
    for scenario in load_profile(name).scenarios:
        count, _, hardware = scenario.cluster.partition(" x ")
        sizes = {
            "tensor_parallel_size": scenario.tensor_parallel_size,
            "data_parallel_size": scenario.data_parallel_size,
        }
        given = settings(hardware, profile=name, topology=scenario.topology, **sizes)
        build_plan(pairs(given, int(count)))


def test_the_rules_and_results_of_qwen3_next() -> None:
    profile = load_profile("qwen3-next-80b-a3b-instruct")
    assert profile.tensor_parallel.legal == (1, 2, 4, 8)
    assert profile.weights.total_bytes == 163_000_000_000
    assert (profile.shape.experts, profile.shape.kv_heads, profile.shape.head_dim) == (512, 2, 256)
    results = {reference.metric: reference.value for reference in profile.references}
    assert results["gsm8k accuracy"] == 95.53
    assert results["output token throughput"] == 580
    assert results["TPOT"] == 54


def test_the_experts_are_what_the_shape_says() -> None:
    profile = load_profile("qwen3-next-80b-a3b-instruct")
    one_expert = 3 * profile.shape.hidden * 512 * 2
    layers_and_mtp = profile.shape.layers + 1
    assert profile.weights.expert_bytes == pytest.approx(layers_and_mtp * profile.shape.experts * one_expert, rel=0.001)


def test_an_extension_replaces_whole_keys() -> None:
    base, extended = load_profile("qwen3-next-80b-a3b-instruct"), load_profile("qwen3-next-80b-a3b-instruct-w8a8")
    assert extended.releases == base.releases
    assert extended.always.engine_args["quantization"] == "ascend"
    assert "PYTORCH_NPU_ALLOC_CONF" not in extended.always.env


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: other", "calls itself 'other'"),
        ("name: mine\nsurprise: 1", "surprise: Unexpected keyword argument"),
        ("name: mine\nshape: {heads: many}", "shape.heads: Input should be a valid integer"),
    ],
)
def test_a_malformed_profile_is_an_error_with_its_place(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = profiles.FOLDER / "qwen3-next-80b-a3b-instruct.yaml"
    (tmp_path / base.name).write_text(base.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(f"extends: {base.stem}\n{text}\n", encoding="utf-8")
    monkeypatch.setattr(profiles, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=r"mine\.yaml:\d+:\d+: ") as refused:
        load_profile.__wrapped__("mine")
    assert message in str(refused.value)
