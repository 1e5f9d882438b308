"""A model on this machine, by its folder or its config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provision.errors import UsageError
from provision.serve.local_model import read_model
from tests.serve.published import MODELS


def write(folder: Path, name: str, **more: Any) -> Path:
    config = next(model["config"] for model in MODELS if model["name"].startswith(name))
    (folder / "config.json").write_text(json.dumps({**config, **more}))
    return folder


def test_a_config_alone_gives_an_estimate(tmp_path: Path) -> None:
    model = read_model(write(tmp_path, "Kimi-K2.5") / "config.json")
    assert model.estimated
    assert model.weights is not None
    assert model.weights.total == pytest.approx(530.8e9, rel=0.001)
    assert model.weights.experts == pytest.approx(507.3e9, rel=0.001)
    assert [profile.name for profile in model.profiles] == ["kimi-k2.5-w4a8", "kimi-k2.6-w4a8"]


def test_an_index_tells_the_size(tmp_path: Path) -> None:
    index = {"metadata": {"total_size": 773_900_000_000}, "weight_map": {}}
    (write(tmp_path, "GLM-5.2") / "quant_model_weights.safetensors.index.json").write_text(json.dumps(index))
    model = read_model(tmp_path)
    assert model.weights is not None
    assert (model.weights.total, model.estimated) == (773_900_000_000, False)


def test_without_an_index_the_files_do(tmp_path: Path) -> None:
    (write(tmp_path, "Qwen3-0.6B") / "model.safetensors").write_bytes(bytes(1000))
    model = read_model(tmp_path)
    assert model.weights is not None
    assert (model.weights.total, model.weights.experts, model.estimated) == (1000, 0, False)
    assert model.profiles == ()


def test_too_few_numbers_for_an_estimate(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"num_attention_heads": 8, "hidden_size": 64}')
    model = read_model(tmp_path)
    assert (model.weights, model.parameters, model.shape.heads) == (None, None, 8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file or directory"),
        ("", "is no JSON object"),
        ("[1]", "is no JSON object"),
        ('{"a": 1}', "tells no heads and no layers"),
    ],
)
def test_what_is_no_model_is_an_error_with_a_hint(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        read_model(tmp_path)
    assert refused.value.hint


def test_a_file_of_weights_is_not_read(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(UsageError, match=r"no config\.json is that large"):
        read_model(weights)
