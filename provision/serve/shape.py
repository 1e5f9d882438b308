"""The numbers of a model that decide which layouts can work, from a profile or from the weights' ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass

from provision.facts.model import ModelConfig


@dataclass(frozen=True, slots=True)
class ModelShape:
    """0 where a number is not known or the model has no such thing; ``experts`` 0: a dense model."""

    architecture: str = ""
    model_type: str = ""
    layers: int = 0
    hidden: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    experts: int = 0
    context: int = 0
    attention_layers: int = 0
    """Layers that keep a KV cache, where others keep a state of fixed size; 0: all of them, or not known."""


def shape_of(config: ModelConfig) -> ModelShape:
    """What a ``config.json`` says. Without KV heads of its own, each head has one; without ``head_dim``, the hidden
    size is divided among the heads [transformers, PretrainedConfig of most models]."""
    heads, hidden = _count(config.attention_heads), _count(config.hidden_size)
    return ModelShape(
        architecture=next(iter(config.architectures), ""),
        model_type=config.model_type,
        layers=_count(config.layers),
        hidden=hidden,
        heads=heads,
        kv_heads=_count(config.kv_heads) or heads,
        head_dim=_count(config.head_dim) or (hidden // heads if heads else 0),
        experts=_count(config.experts),
        context=_count(config.max_positions),
    )


def _count(number: int | None) -> int:
    return max(number or 0, 0)
