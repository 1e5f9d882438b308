"""The numbers that rules judge, from what config.json and the folder of the weights say."""

from __future__ import annotations

from typing import Any

import pytest

from provision.facts.model import LinearAttention, ModelConfig, ModelFolderValue, RopeScaling, Shard
from provision.serve.profiles import legal_tensor_parallel, load_profile
from provision.serve.shape import (
    ModelShape,
    context_of,
    estimated_bytes,
    folder_shape,
    shape_of,
    tensor_parallel_obstacle,
)
from tests.serve.published import MODELS, config_of, named

EVERY = pytest.mark.parametrize("model", MODELS, ids=[model["name"] for model in MODELS])


@EVERY
def test_published_models(model: dict[str, Any]) -> None:
    shape = shape_of(config_of(model))
    assert {key: getattr(shape, key) for key in model["shape"]} == model["shape"]
    assert list(legal_tensor_parallel(shape, None)) == model["legal"]


@EVERY
def test_profiles_have_the_numbers_of_the_published_config(model: dict[str, Any]) -> None:
    shape = shape_of(config_of(model))
    for name in model.get("profiles", ()):
        known = load_profile(name).shape
        told = {key: value for key in ModelShape.__slots__ if (value := getattr(known, key))}
        # The layer of multi-token prediction of Qwen3-Next isn't in its config.json.
        told = {key: value for key, value in told.items() if key != "mtp_layers" or shape.mtp_layers}
        assert {key: getattr(shape, key) for key in told} == told


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (ModelConfig(hidden_size=64, attention_heads=4), ModelShape(hidden=64, heads=4, kv_heads=4, head_dim=16)),
        (ModelConfig(attention_heads=0, experts=-1, hidden_size=64), ModelShape(hidden=64)),
        (ModelConfig(), ModelShape()),
    ],
)
def test_shape_of_little(config: ModelConfig, shape: ModelShape) -> None:
    assert shape_of(config) == shape


@pytest.mark.parametrize(
    ("rope", "context"),
    [
        (None, 40960),
        (RopeScaling("yarn", 4.0, 32768), 131072),
        (RopeScaling("yarn", 4.0), 163840),
        (RopeScaling("dynamic", 2.0), 81920),
        (RopeScaling("llama3", 8.0, 8192), 40960),
        (RopeScaling("longrope", 32.0, 4096), 40960),
    ],
)
def test_context_is_what_vllm_derives(rope: RopeScaling | None, context: int) -> None:
    assert context_of(ModelConfig(max_positions=40960, rope=rope)) == context


def test_experts_of_a_folder_are_what_16_bits_leave() -> None:
    # GLM-5.2 in 8 bits: 773.9 GB; 19.4e9 parameters beside the experts take 38.8 GB at most.
    shape = shape_of(named("GLM-5.2"), 773_900_000_000)
    assert shape.total_bytes == 773_900_000_000
    assert shape.expert_bytes == pytest.approx(735.1e9, rel=0.001)


def test_experts_of_a_folder_too_small_for_that_are_their_share() -> None:
    shape = shape_of(named("GLM-5.2"), 30_000_000_000)
    assert shape.expert_bytes == pytest.approx(30e9 * 734.4 / 753.9, rel=0.001)


@pytest.mark.parametrize("model", [m for m in MODELS if "estimated_gb" in m], ids=lambda model: model["name"])
def test_bytes_by_numbers_alone(model: dict[str, Any]) -> None:
    assert estimated_bytes(config_of(model)) == pytest.approx(model["estimated_gb"] * 1e9, rel=0.005)


def folder(**more: Any) -> ModelFolderValue:
    shards = (Shard("model.safetensors", 1016, 1016, 8),)
    return ModelFolderValue("/m", exists=True, config=named("Qwen3-0.6B"), shards=shards, **more)


def test_a_folder_tells_its_size_and_how_it_is_quantised() -> None:
    assert folder_shape(folder(index=True, indexed_size=900)) == shape_of(named("Qwen3-0.6B"), 900)
    shape = folder_shape(folder(quantized=True, quantized_as="W8A8_DYNAMIC"))
    assert shape is not None
    assert (shape.quantization, shape.total_bytes) == ("ascend W8A8_DYNAMIC", 1000)
    assert folder_shape(ModelFolderValue("/m")) is None


def test_a_folder_that_lacks_files_tells_no_size() -> None:
    for value in (folder(missing=("b.safetensors",)), folder(truncated=("model.safetensors",))):
        assert value.weight_bytes == 0


@pytest.mark.parametrize(
    ("shape", "size", "said"),
    [
        (ModelShape(), 7, ""),
        (ModelShape(heads=16, kv_heads=2), 4, ""),
        (ModelShape(heads=16), 3, "16 attention heads"),
        (ModelShape(heads=24, kv_heads=6), 4, "6 KV heads"),
        (ModelShape(heads=24, kv_heads=6, latent_dim=576), 4, ""),
        (ModelShape(heads=24, kv_heads=4, linear_heads=16), 3, "4 KV heads"),
        (ModelShape(heads=24, kv_heads=24, linear_heads=16), 3, "16 heads of linear attention"),
        (ModelShape(heads=32, kv_heads=32, layers=2, intermediate=2880 + 16), 32, "feed-forward layers, 2896"),
        (ModelShape(heads=32, kv_heads=32, layers=2, expert_layers=2, intermediate=2896), 32, ""),
        (ModelShape("Qwen3NextForCausalLM", heads=16, kv_heads=2, head_dim=256), 16, "one query head a rank"),
        (ModelShape("Qwen3NextForCausalLM", heads=16, kv_heads=2, head_dim=128), 16, ""),
    ],
)
def test_why_a_size_cannot_work(shape: ModelShape, size: int, said: str) -> None:
    found = tensor_parallel_obstacle(shape, size)
    assert (found is None) == (said == "")
    assert found is None or (said in found.reason and found.source)


def test_limits_of_ascend_hold_on_ascend_only() -> None:
    shape = shape_of(named("Qwen3-Next"))
    assert tensor_parallel_obstacle(shape, 16)
    assert tensor_parallel_obstacle(shape, 16, npus=False) is None


def test_without_heads_no_size_is_known_to_be_legal() -> None:
    assert legal_tensor_parallel(None, None) == ()
    assert legal_tensor_parallel(ModelShape(), None) == ()


def test_linear_attention_alone_is_no_shape() -> None:
    assert shape_of(ModelConfig(linear=LinearAttention(key_heads=4))) == ModelShape(linear_heads=4)
