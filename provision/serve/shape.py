"""The numbers of a model that decide which layouts can work, from a profile or from the weights' ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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


_EXPERT_KEYS = ("num_experts", "n_routed_experts", "num_local_experts")


def shape_of(config: Mapping[str, object]) -> ModelShape:
    """From the content of a ``config.json``. Never raises: what is absent or no number becomes 0. A multimodal model's
    language part (``text_config``) is what counts."""
    text = config.get("text_config")
    text = text if isinstance(text, Mapping) else config
    heads = _number(text, "num_attention_heads")
    hidden = _number(text, "hidden_size")
    return ModelShape(
        architecture=_first_string(config.get("architectures")),
        model_type=str(config.get("model_type") or ""),
        layers=_number(text, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=_number(text, "num_key_value_heads") or heads,
        head_dim=_number(text, "head_dim") or (hidden // heads if heads else 0),
        experts=next((n for key in _EXPERT_KEYS if (n := _number(text, key))), 0),
        context=_number(text, "max_position_embeddings"),
    )


def _number(config: Mapping[str, object], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _first_string(value: object) -> str:
    first = value[0] if isinstance(value, (list, tuple)) and value else value
    return first if isinstance(first, str) else ""
