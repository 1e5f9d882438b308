"""The numbers of a model that decide which layouts can work, from a profile or from the weights' own folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from provision.facts.model import ModelConfig, ModelFolderValue
from provision.serve.parameters import Parameters, parameters_of

UNSCALED = frozenset({"", "default", "su", "longrope", "llama3", "mrope"})
"""Kinds of rope whose factor is already in ``max_position_embeddings`` [vllm/config/model.py]."""

DENSE_BYTES = 2
"""Bytes of a parameter that is no expert, at most: quantised weights keep embeddings, norms and often the attention,
shared experts and the layer of multi-token prediction in 16 bits [Eco-Tech/GLM-5.2-w8a8: 773.9 GB]."""


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
    latent_dim: int = 0
    """Numbers that multi-head latent attention caches for a token and layer, whatever the heads; 0: it has none."""
    index_dim: int = 0
    """Numbers that the indexer of sparse attention caches beside them."""
    linear_heads: int = 0
    """Key heads of layers of linear attention, which are divided among ranks like others."""
    intermediate: int = 0
    """Inner size of dense feed-forward layers."""
    expert_layers: int = 0
    expert_intermediate: int = 0
    """Inner size of one expert."""
    mtp_layers: int = 0
    """Layers for multi-token prediction that the weights hold beyond ``layers``."""
    quantization: str = ""
    total_bytes: int = 0
    """Bytes of all weights, as their folder says."""
    expert_bytes: int = 0
    """Bytes of ``total_bytes`` that expert parallelism spreads: an estimate from the numbers above."""
    __pydantic_config__: ClassVar[Mapping[str, str]] = {"extra": "forbid"}

    @property
    def hybrid(self) -> bool:
        """Whether some of its layers keep a state of fixed size instead of a KV cache."""
        return 0 < self.attention_layers < self.layers


def shape_of(config: ModelConfig, total_bytes: int = 0) -> ModelShape:
    """What a ``config.json`` says, and weights of ``total_bytes`` beside it. Without KV heads of its own, each head has
    one; without ``head_dim``, the hidden size is divided among the heads [transformers, PretrainedConfig of most
    models]."""
    heads, hidden = _count(config.attention_heads), _count(config.hidden_size)
    latent, linear = config.latent, config.linear
    return ModelShape(
        architecture=next(iter(config.architectures), ""),
        model_type=config.model_type,
        layers=_count(config.layers),
        hidden=hidden,
        heads=heads,
        kv_heads=_count(config.kv_heads) or heads,
        head_dim=_count(config.head_dim) or (hidden // heads if heads else 0),
        experts=_count(config.experts),
        context=context_of(config),
        attention_layers=_count(config.attention_layers),
        latent_dim=latent.kv_rank + latent.rope_dim if latent else 0,
        index_dim=latent.index_dim if latent else 0,
        linear_heads=linear.key_heads if linear else 0,
        intermediate=_count(config.intermediate_size),
        expert_layers=_count(config.expert_layers),
        expert_intermediate=_count(config.expert_size),
        mtp_layers=_count(config.mtp_layers),
        quantization=config.quantization,
        total_bytes=total_bytes,
        expert_bytes=_expert_bytes(parameters_of(config), total_bytes),
    )


def folder_shape(folder: ModelFolderValue) -> ModelShape | None:
    """What a folder of weights says; None where it has no config.json that can be read."""
    if folder.config is None:
        return None
    shape = shape_of(folder.config, folder.weight_bytes)
    if not folder.quantized or shape.quantization:
        return shape
    return replace(shape, quantization=f"ascend {folder.quantized_as}".strip())


def context_of(config: ModelConfig) -> int:
    """Tokens of the longest request, as vLLM derives it: the positions of the training times a scaling's factor
    [vllm/config/model.py, _get_and_verify_max_len]; 0: not known."""
    positions, rope = _count(config.max_positions), config.rope
    if rope is None or rope.kind in UNSCALED or "gemma3" in config.model_type:
        return positions
    return int((rope.original or positions if rope.kind == "yarn" else positions) * rope.factor)


def estimated_bytes(config: ModelConfig) -> int:
    """Bytes of the weights by their number and kind, for a config.json that comes without them; 0: not known. The part
    beside experts counts 16 bits where a part is quantised."""
    counted = parameters_of(config)
    if counted is None:
        return 0
    plain = 4 if config.dtype in ("float32", "float") else 2
    bits = config.weight_bits or 8 * plain
    if not counted.experts:
        return counted.total * bits // 8
    return counted.dense * plain + counted.experts * bits // 8


def _expert_bytes(counted: Parameters | None, total_bytes: int) -> int:
    """What is left of the bytes beside parameters in 16 bits; where nothing is left, the experts' share by number."""
    if counted is None or not counted.experts:
        return 0
    rest = total_bytes - DENSE_BYTES * counted.dense
    return rest if rest > 0 else total_bytes * counted.experts // counted.total


def _count(number: int | None) -> int:
    return max(number or 0, 0)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a tensor-parallel size can't work, and who says so."""

    reason: str
    source: str


def tensor_parallel_obstacle(shape: ModelShape, size: int, *, npus: bool = True) -> Obstacle | None:
    """Why the model can't be divided among ``size`` ranks; None where it can, or its heads aren't known. ``npus``: the
    limits of Ascend's kernels count too."""
    if not shape.heads:
        return None
    if shape.heads % size:
        return Obstacle(
            f"does not divide the model's {shape.heads} attention heads",
            "vLLM: num_attention_heads must be divisible by tensor parallel size",
        )
    if not shape.latent_dim and shape.kv_heads and shape.kv_heads % size and size % shape.kv_heads:
        return Obstacle(
            f"does not fit the model's {shape.kv_heads} KV heads",
            "vLLM: KV heads are divided among ranks, or each copied to the same number of ranks",
        )
    if shape.linear_heads % size:
        return Obstacle(
            f"does not divide the model's {shape.linear_heads} heads of linear attention",
            "vLLM: key heads of a gated delta net are divided among ranks",
        )
    if shape.layers != shape.expert_layers and shape.intermediate % size:
        return Obstacle(
            f"does not divide the inner size of the model's feed-forward layers, {shape.intermediate}",
            "vLLM: columns of a layer are divided among ranks",
        )
    return _npu_obstacle(shape, size) if npus else None


def _npu_obstacle(shape: ModelShape, size: int) -> Obstacle | None:
    degenerate = shape.architecture.startswith("Qwen3Next") and shape.kv_heads < shape.heads <= size
    if not degenerate or shape.head_dim != 256:
        return None
    return Obstacle(
        "leaves one query head a rank, which turns grouped-query into multi-head attention, where the FIA operator "
        "fails at head dimension 256",
        "vllm-ascend Qwen3-Next document, section 9.1; vllm-ascend issue 7729",
    )
