"""The shipped profiles are whole and agree with themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.serve import profiles
from provision.serve.argv import computed, normal
from provision.serve.build import build_plan
from provision.serve.lint import lint
from provision.serve.profiles import legal_tensor_parallel, load_profile, profile_names
from provision.serve.releases import Release, parse_release
from tests.serve.clusters import pairs, settings

EVERY = pytest.mark.parametrize("name", profile_names())


@EVERY
def test_profile_is_consistent(name: str) -> None:
    profile = load_profile(name)
    assert profile.weights.expert_bytes < profile.weights.total_bytes < profile.weights.disk_bytes
    assert profile.weights.source
    assert profile.tensor_parallel.legal == legal_tensor_parallel(profile.shape, None)
    assert profile.always.engine_args
    extras = [each for each in (profile.always, profile.multi_node, profile.mtp) if each.engine_args or each.env]
    for each in (*extras, *profile.scenarios.values()):
        assert each.source
        assert all(normal(argument) == argument and not computed(argument) for argument in each.engine_args)
    assert all(reference.source and reference.conditions for reference in profile.references)
    table = [Release(note.release) for note in profile.releases.table]
    assert table == sorted(table)
    assert all(parse_release(note.release) for note in profile.releases.table)
    assert Release(profile.releases.first) <= table[0]


SUFFIXES = {"atlas-800-a2": "", "atlas-800-a3": "-a3"}


@EVERY
def test_known_layouts_are_valid(name: str) -> None:
    """On the newest release, and with no worry but that of memory."""
    profile = load_profile(name)
    assert profile.layouts
    for layout in profile.layouts:
        count, _, hardware = layout.cluster.partition(" x ")
        sizes = {
            "tensor_parallel_size": layout.tensor_parallel_size,
            "data_parallel_size": layout.data_parallel_size,
        }
        image = f"quay.io/ascend/vllm-ascend:v0.23.0{SUFFIXES[hardware]}"
        given = settings(hardware, image=image, profile=name, topology=layout.topology, **sizes)
        build_plan(pairs(given, int(count)))
        assert {violation.code for violation in lint(pairs(given, int(count)))} <= {"S16"}, layout


@EVERY
def test_the_bytes_of_experts_are_what_the_shape_says(name: str) -> None:
    """Bits of an expert's weight by kind of weights, and of those in the layer of multi-token prediction."""
    profile = load_profile(name)
    shape, bits = profile.shape, {"w4a8": 4, "w8a8": 8}.get(name.rsplit("-", 1)[-1], 16)
    one_layer = shape.experts * 3 * shape.hidden * shape.expert_intermediate
    last = bits if name.startswith("qwen3-next") else 16
    expected = one_layer * (shape.expert_layers * bits + shape.mtp_layers * last) / 8
    assert profile.weights.expert_bytes == pytest.approx(expected, rel=0.002)


def test_the_rules_and_results_of_qwen3_next() -> None:
    profile = load_profile("qwen3-next-80b-a3b-instruct")
    assert profile.tensor_parallel.legal == (1, 2, 4, 8)
    assert profile.weights.total_bytes == 163_000_000_000
    assert (profile.shape.experts, profile.shape.kv_heads, profile.shape.head_dim) == (512, 2, 256)
    results = {reference.metric: reference.value for reference in profile.references}
    assert results["gsm8k accuracy"] == 95.53
    assert results["output token throughput"] == 580
    assert results["TPOT"] == 54


def test_results_of_upstreams_nightly_runs() -> None:
    throughput = {
        (name, reference.value)
        for name in profile_names()
        for reference in load_profile(name).references
        if reference.metric == "output token throughput"
    }
    assert throughput >= {
        ("qwen3-235b-a22b", 1152.03),
        ("qwen3-235b-a22b", 2209.92),
        ("deepseek-v3.2-w8a8", 862.63),
        ("kimi-k2.5-w4a8", 1347.1),
        ("glm-5.1-w8a8", 314.14),
    }


def test_an_extension_may_extend_another() -> None:
    thinking, instruct = load_profile("qwen3-next-80b-a3b-thinking-w8a8"), load_profile("qwen3-next-80b-a3b-instruct")
    assert thinking.releases == instruct.releases
    assert thinking.always.engine_args["quantization"] == "ascend"


def test_extensions_in_a_circle_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.yaml").write_text("extends: two\n")
    (tmp_path / "two.yaml").write_text("extends: one\n")
    monkeypatch.setattr(profiles, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match="which extends this profile again"):
        load_profile.__wrapped__("one")


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
        ("name: mine\nshape: {horns: 2}", "shape.horns: Unexpected keyword argument"),
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
