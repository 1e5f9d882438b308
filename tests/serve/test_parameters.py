"""Parameters are counted as the makers of the models count them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.facts.model import ModelConfig
from provision.serve.parameters import parameters_of
from tests.serve.published import MODELS, config_of, named

COUNTED = [model for model in MODELS if "parameters" in model]


@pytest.mark.parametrize("model", COUNTED, ids=[model["name"] for model in COUNTED])
def test_published_models(model: dict[str, Any]) -> None:
    counted = parameters_of(config_of(model))
    assert counted is not None
    assert counted.total / 1e9 == pytest.approx(model["parameters"], abs=0.06)
    assert counted.experts / 1e9 == pytest.approx(model.get("experts", 0), abs=0.06)
    assert counted.dense == counted.total - counted.experts


@pytest.mark.parametrize("model", [m for m in MODELS if "parameters" not in m], ids=lambda model: model["name"])
def test_what_is_not_understood_is_not_counted(model: dict[str, Any]) -> None:
    counted = parameters_of(config_of(model))
    assert counted is None or not model["name"].startswith("Mamba")


@pytest.mark.parametrize(
    "missing", ["hidden_size", "layers", "vocab_size", "attention_heads", "expert_size", "expert_layers"]
)
def test_a_number_that_counts_and_is_missing_makes_it_unknown(missing: str) -> None:
    config = named("Qwen3-235B-A22B")
    assert parameters_of(config)
    assert parameters_of(replace(config, **{missing: None})) is None


def test_nonsense_is_unknown() -> None:
    assert parameters_of(ModelConfig()) is None
    assert parameters_of(ModelConfig(hidden_size=-1, layers=2, vocab_size=3, attention_heads=2)) is None


def test_one_layer_by_hand() -> None:
    config = ModelConfig(
        hidden_size=8, layers=1, vocab_size=10, attention_heads=2, kv_heads=1, head_dim=4, intermediate_size=16
    )
    # Embedding and head 2 x 10 x 8; queries and output 2 x 8 x 8; key and value 2 x 8 x 4; three matrices of 8 x 16.
    counted = parameters_of(config)
    assert counted is not None
    assert counted.total == 160 + 128 + 64 + 384
