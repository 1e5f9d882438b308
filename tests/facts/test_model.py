"""A folder of weights: whole, short, cut, and the same elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from provision.facts.model import UNNAMED, LatentAttention, ModelFolder, RopeScaling, parse_config

CONFIG = {
    "model_type": "qwen3_next",
    "architectures": ["Qwen3NextForCausalLM"],
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "num_experts": 512,
    "num_hidden_layers": 48,
    "hidden_size": 2048,
    "torch_dtype": "bfloat16",
}


def safetensors(sizes: list[int]) -> bytes:
    """A file of tensors with these sizes in bytes, in the order the library writes them or not."""
    header, start = {"__metadata__": {"format": "pt"}}, 0
    for number, size in enumerate(sizes):
        header[f"w{number}"] = {"dtype": "U8", "shape": [size], "data_offsets": [start, start + size]}  # type: ignore[dict-item]
        start += size
    text = json.dumps(dict(reversed(header.items()))).encode()
    return len(text).to_bytes(8, "little") + text + bytes(start)


def make(folder: Path, *, indent: int | None = None) -> Path:
    """Two shards of 300 and 50 bytes of tensors, with an index; the path holds a space and a quote."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_text("{}")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (folder / names[0]).write_bytes(safetensors([100, 200]))
    (folder / names[1]).write_bytes(safetensors([50]))
    index = {"metadata": {"total_size": 350}, "weight_map": {"a": names[0], "b": names[0], "c": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=indent))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "it's a model")


@pytest.mark.parametrize("indent", [None, 2])
def test_a_whole_model(look: Any, tmp_path: Path, indent: int | None) -> None:
    value = look(ModelFolder(str(make(tmp_path / "m", indent=indent))))
    assert value.complete
    assert value.problems == ()
    assert (value.index, value.indexed_size, [shard.data for shard in value.shards]) == (True, 350, [300, 50])
    assert (value.config.attention_heads, value.config.experts, value.config.dtype) == (16, 512, "bfloat16")
    assert value.config.architectures == ("Qwen3NextForCausalLM",)


def test_a_missing_shard_is_named(look: Any, folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    value = look(ModelFolder(str(folder)))
    assert not value.complete
    assert value.missing == ("model-00002-of-00002.safetensors",)


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_a_cut_shard_is_named(look: Any, folder: Path, length: int) -> None:
    path = folder / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    value = look(ModelFolder(str(folder)))
    assert not value.complete
    assert value.truncated == ("model-00001-of-00002.safetensors",)


def test_a_page_in_place_of_a_shard_is_named(look: Any, folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").write_text("<!DOCTYPE html><title>403</title>" * 20)
    assert look(ModelFolder(str(folder))).truncated == ("model-00001-of-00002.safetensors",)


def test_an_index_of_another_size_is_a_problem(look: Any, folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("350", "351"))
    assert look(ModelFolder(str(folder))).problems == ("the index says 351 bytes of tensors, the files hold 350",)


def test_a_single_file_needs_no_index(look: Any, folder: Path) -> None:
    for path in (*folder.glob("*-of-*"), folder / "model.safetensors.index.json"):
        path.unlink()
    (folder / "model.safetensors").write_bytes(safetensors([9]))
    value = look(ModelFolder(str(folder)))
    assert value.complete
    assert value.problems == ()


def test_what_is_missing_is_said(look: Any, folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "quant_model_description_w8a8.json").write_text("{}")
    value = look(ModelFolder(str(folder)))
    assert (value.exists, value.quantized, value.digest) == (True, True, "")
    assert value.problems == (
        "config.json is missing or no JSON",
        "no tokenizer file",
        "no weights (*.safetensors or pytorch_model*.bin)",
    )


def test_no_folder(look: Any, tmp_path: Path) -> None:
    value = look(ModelFolder(str(tmp_path / "nothing")))
    assert (value.exists, value.complete, value.problems) == (False, False, ())


def test_the_digest_is_of_content_and_not_of_place(look: Any, folder: Path, tmp_path: Path) -> None:
    one = look(ModelFolder(str(folder))).digest
    other = make(tmp_path / "elsewhere")
    assert look(ModelFolder(str(other))).digest == one
    (other / "model-00002-of-00002.safetensors").write_bytes(safetensors([51]))
    assert look(ModelFolder(str(other))).digest != one


def test_a_quantised_folder_says_how(look: Any, folder: Path) -> None:
    (folder / "quant_model_description.json").write_text(json.dumps({"w.weight": "W8A8", "model_quant_type": "W8A8"}))
    value = look(ModelFolder(str(folder)))
    assert (value.quantized, value.quantized_as, value.problems) == (True, "W8A8", ())
    (folder / "quant_model_description.json").write_text("{}")
    assert look(ModelFolder(str(folder))).quantized_as == ""


def test_the_bytes_of_the_weights(look: Any, folder: Path) -> None:
    assert look(ModelFolder(str(folder))).weight_bytes == 350
    (folder / "model.safetensors.index.json").unlink()
    assert look(ModelFolder(str(folder))).weight_bytes == 0  # whether any is missing is unknown
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert look(ModelFolder(str(folder))).weight_bytes == 300  # a single file needs no index


@pytest.mark.parametrize("key", ["num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"])
def test_experts_by_any_name(key: str) -> None:
    config = parse_config(json.dumps({key: 64, "num_hidden_layers": 10, "first_k_dense_replace": 2}))
    assert config is not None
    assert (config.experts, config.expert_layers) == (64, 8)


@pytest.mark.parametrize(
    ("more", "layers"),
    [
        ({}, 12),
        ({"decoder_sparse_step": 2}, 6),
        ({"mlp_only_layers": [0, 1, 2]}, 9),
        ({"moe_layer_freq": [0, 0, 1, 1]}, 2),
        ({"moe_layers": [3, 5]}, 2),
        ({"mlp_layer_types": ["dense", "sparse"]}, 1),
        ({"first_k_dense_replace": 99}, 0),
    ],
)
def test_layers_with_experts(more: dict[str, Any], layers: int) -> None:
    config = parse_config(json.dumps({"num_experts": 4, "num_hidden_layers": 12, **more}))
    assert config is not None
    assert config.expert_layers == layers


@pytest.mark.parametrize(
    ("more", "layers"),
    [
        ({}, None),
        ({"layer_types": ["full_attention", "sliding_attention"]}, None),
        ({"layer_types": ["full_attention", "linear_attention", "linear_attention"]}, 1),
        ({"full_attention_interval": 4}, 3),
        ({"hybrid_override_pattern": "M-M*-"}, 1),
        ({"attn_type_list": [0, 0, 1]}, 1),
        ({"attn_type_list": [1, 1]}, None),
    ],
)
def test_layers_with_a_cache(more: dict[str, Any], layers: int | None) -> None:
    config = parse_config(json.dumps({"num_hidden_layers": 12, **more}))
    assert config is not None
    assert config.attention_layers == layers


@pytest.mark.parametrize(
    ("quantized", "method", "bits"),
    [
        (None, "", None),
        ({"quant_method": "awq", "bits": 4}, "awq", 4),
        ({"quant_method": "fp8"}, "fp8", 8),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "modelopt", 4),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 4}}}},
            "compressed-tensors",
            4,
        ),
        ({"quant_method": "other"}, "other", None),
        ("text", "", None),
    ],
)
def test_quantisation(quantized: object, method: str, bits: int | None) -> None:
    for text in ({"quantization_config": quantized}, {"text_config": {"a": 1, "quantization_config": quantized}}):
        config = parse_config(json.dumps(text))
        assert config is not None
        assert (config.quantization, config.weight_bits) == (method, bits)


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    ("said", "rope"),
    [
        (None, None),
        ({"rope_type": "default", "rope_theta": 1}, None),
        ({"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 100}, RopeScaling("yarn", 4.0, 100)),
        ({"type": "linear", "factor": 2.5}, RopeScaling("linear", 2.5)),
        ({"type": "linear", "factor": "4"}, None),
        ({"type": "linear", "factor": -1}, None),
        ({"type": "linear", "factor": float("nan")}, None),
        ({"full_attention": {"factor": 8}}, None),
    ],
)
def test_rope(key: str, said: object, rope: RopeScaling | None) -> None:
    config = parse_config(json.dumps({key: said, "model_type": "m"}))
    assert config is not None
    assert config.rope == rope


def test_latent_attention_in_a_nested_part() -> None:
    inner = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "q_lora_rank": None}
    for text in ({"text_config": inner}, {"thinker_config": {"text_config": inner}}, {"llm_config": inner}, inner):
        config = parse_config(json.dumps(text))
        assert config is not None
        assert config.latent == LatentAttention(512, 64)


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{", '"x"', "[" * 2000])
def test_what_is_no_config(text: str) -> None:
    assert parse_config(text) is None


def cached(root: Path, *revisions: str, main: str = "") -> Path:
    """A model in Hugging Face's cache: blobs, and snapshots of links to them; the last revision is the newest."""
    place = root / "models--Qwen--Qwen3-Next"
    (place / "refs").mkdir(parents=True)
    for age, revision in enumerate(reversed(revisions)):
        blobs, links = make(root / f"made-{revision}"), place / "snapshots" / revision
        (place / "blobs").mkdir(exist_ok=True)
        links.mkdir(parents=True)
        for number, file in enumerate(sorted(blobs.iterdir())):
            file.rename(place / "blobs" / f"{revision}{number}")
            (links / file.name).symlink_to(f"../../blobs/{revision}{number}")
        os.utime(links, (1_790_000_000 - age, 1_790_000_000 - age))
    if main:
        (place / "refs" / "main").write_text(main)
    return place


@pytest.mark.parametrize(
    ("main", "taken", "problems"),
    [("aa11", "aa11", ()), ("bb22", "bb22", ()), ("", "bb22", (UNNAMED,)), ("cc33", "bb22", (UNNAMED,))],
    ids=["older-is-main", "newer-is-main", "no-main", "main-is-gone"],
)
def test_a_snapshot_of_the_hub_s_cache(look: Any, tmp_path: Path, main: str, taken: str, problems: Any) -> None:
    place = cached(tmp_path, "aa11", "bb22", main=main)

    value = look(ModelFolder(str(place)))

    assert (value.path, value.complete, value.problems) == (f"{place}/snapshots/{taken}", True, problems)
    assert value.weight_bytes == 350, "links are followed"


def test_a_link_to_nothing_is_a_missing_shard(look: Any, tmp_path: Path) -> None:
    place = cached(tmp_path, "aa11", main="aa11")
    (place / "snapshots" / "aa11" / "model-00002-of-00002.safetensors").resolve().unlink()

    assert look(ModelFolder(str(place))).missing == ("model-00002-of-00002.safetensors",)


def test_a_cache_without_a_snapshot(look: Any, tmp_path: Path) -> None:
    place = cached(tmp_path)
    (place / "snapshots").mkdir()

    value = look(ModelFolder(str(place)))

    assert (value.path, value.complete) == (str(place), False)
    assert "config.json is missing or no JSON" in value.problems
