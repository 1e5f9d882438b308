"""A folder of weights: whole, short, cut, and the same elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provision.facts.model import ModelFolder

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
