"""Reading config.json, whatever it holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies

from provision.serve.shape import ModelShape, shape_of

JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=5),
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = [
    "architectures",
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "text_config",
    "num_experts",
    "head_dim",
]


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (
            {
                "architectures": ["Qwen3NextForCausalLM"],
                "model_type": "qwen3_next",
                "num_hidden_layers": 48,
                "hidden_size": 2048,
                "num_attention_heads": 16,
                "num_key_value_heads": 2,
                "head_dim": 256,
                "num_experts": 512,
                "max_position_embeddings": 262144,
            },
            ModelShape("Qwen3NextForCausalLM", "qwen3_next", 48, 2048, 16, 2, 256, 512, 262144),
        ),
        ({"hidden_size": 64, "num_attention_heads": 4}, ModelShape(hidden=64, heads=4, kv_heads=4, head_dim=16)),
        (
            {"architectures": ["Vision"], "text_config": {"num_attention_heads": 8, "n_routed_experts": 4}},
            ModelShape("Vision", heads=8, kv_heads=8, experts=4),
        ),
        ({"num_attention_heads": True, "num_experts": -1, "hidden_size": "64"}, ModelShape()),
        ({}, ModelShape()),
    ],
)
def test_shape_of(config: dict[str, Any], shape: ModelShape) -> None:
    assert shape_of(config) == shape


@given(strategies.dictionaries(strategies.sampled_from(KEYS), JSON))
def test_nothing_makes_it_raise(config: dict[str, Any]) -> None:
    assert shape_of(config).heads >= 0
