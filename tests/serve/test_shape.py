"""The numbers that rules judge, from what config.json says."""

from __future__ import annotations

import pytest

from provision.facts.model import ModelConfig
from provision.serve.shape import ModelShape, shape_of


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (
            ModelConfig(
                model_type="qwen3_next",
                architectures=("Qwen3NextForCausalLM",),
                attention_heads=16,
                kv_heads=2,
                experts=512,
                layers=48,
                hidden_size=2048,
                head_dim=256,
                max_positions=262144,
            ),
            ModelShape("Qwen3NextForCausalLM", "qwen3_next", 48, 2048, 16, 2, 256, 512, 262144),
        ),
        (ModelConfig(hidden_size=64, attention_heads=4), ModelShape(hidden=64, heads=4, kv_heads=4, head_dim=16)),
        (ModelConfig(attention_heads=0, experts=-1, hidden_size=64), ModelShape(hidden=64)),
        (ModelConfig(), ModelShape()),
    ],
)
def test_shape_of(config: ModelConfig, shape: ModelShape) -> None:
    assert shape_of(config) == shape
