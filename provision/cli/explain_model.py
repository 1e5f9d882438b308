"""The page of ``explain model PATH``: what a model's config.json means for layouts, with no node asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from provision.facts.kinds import as_data
from provision.serve.local_model import LocalModel, read_model
from provision.serve.memory import Fit, Minimum, minimum_layouts
from provision.serve.profiles import legal_tensor_parallel
from provision.serve.scenarios import VLLM_UTILIZATION

TOKENS = 8192
"""Tokens of the request that a smallest layout has room for."""


def page(path: str) -> str:
    """The page as text. Raises ``UsageError`` for what is no model."""
    model = read_model(Path(path))
    return "\n".join([*_head(model), *_numbers(model), *_layouts(model)])


def data(path: str) -> dict[str, object]:
    """The same as data, for ``--json``."""
    model = read_model(Path(path))
    return {
        "kind": "model",
        "name": path,
        "shape": as_data(model.shape),
        "parameters": as_data(model.parameters),
        "weights": as_data(model.weights),
        "weights_estimated": model.estimated,
        "legal_tensor_parallel": list(_legal(model)),
        "minimum_layouts": as_data(_minimums(model)),
        "profiles": [profile.name for profile in model.profiles],
    }


def _legal(model: LocalModel) -> tuple[int, ...]:
    return legal_tensor_parallel(model.shape, None)


def _minimums(model: LocalModel) -> tuple[Minimum, ...]:
    if model.weights is None:
        return ()
    return minimum_layouts(model.weights, model.shape, _legal(model), utilization=VLLM_UTILIZATION, tokens=TOKENS)


def _head(model: LocalModel) -> Iterator[str]:
    shape = model.shape
    yield f"{shape.architecture or 'a model of no named architecture'} ({shape.model_type or 'no model_type'})"
    yield model.path
    yield ""


def _numbers(model: LocalModel) -> Iterator[str]:
    shape = model.shape
    yield f"layers      {_or_unknown(shape.layers)}{''.join(_kinds_of_layers(model))}"
    yield f"attention   {_attention(model)}"
    if shape.experts:
        yield f"experts     {shape.experts} in each of {shape.expert_layers} layers, {shape.expert_intermediate} wide"
    yield f"context     {_or_unknown(shape.context)} tokens"
    yield f"quantised   {shape.quantization or 'no'}"
    if model.parameters:
        experts = f", {model.parameters.experts / 1e9:.1f}e9 of them in experts" if model.parameters.experts else ""
        yield f"parameters  {model.parameters.total / 1e9:.1f}e9{experts}"
    yield f"weights     {_weights(model)}"
    for profile in model.profiles:
        yield f"profile     {profile.name}: {profile.title}"
    if not model.profiles:
        yield "profile     none has these numbers: leave model.profile out, the general rules judge its layouts"


def _kinds_of_layers(model: LocalModel) -> Iterator[str]:
    if model.shape.hybrid:
        yield f", {model.shape.attention_layers} of them with a KV cache"
    if model.shape.mtp_layers:
        yield f", and {model.shape.mtp_layers} for multi-token prediction"


def _attention(model: LocalModel) -> str:
    shape = model.shape
    if shape.latent_dim:
        index = f" and {shape.index_dim} of an index" if shape.index_dim else ""
        return f"{shape.heads} heads; {shape.latent_dim} latent numbers{index} a token, the same for all heads"
    return f"{_or_unknown(shape.heads)} heads, {_or_unknown(shape.kv_heads)} KV heads, head size {shape.head_dim}"


def _or_unknown(number: int) -> str:
    return str(number) if number else "unknown"


def _weights(model: LocalModel) -> str:
    if model.weights is None:
        return "unknown: no files, and too few numbers to estimate"
    how = "estimated from the numbers above" if model.estimated else "by the files beside config.json"
    experts = f", about {_gb(model.weights.experts)} of it experts" if model.weights.experts else ""
    return f"{_gb(model.weights.total)}{experts}: {how}"


def _layouts(model: LocalModel) -> Iterator[str]:
    legal = _legal(model)
    yield f"legal TP    {', '.join(map(str, legal)) or 'unknown'}"
    if model.weights is None:
        return
    yield ""
    yield f"smallest layouts, with gpu_memory_utilization {VLLM_UTILIZATION} and room for a request of {TOKENS} tokens:"
    for minimum in _minimums(model):
        yield from (f"  {minimum.hardware:14}{line}" for line in lines_of(minimum))


def lines_of(minimum: Minimum) -> Iterator[str]:
    """The smallest layouts on one kind of hardware in an operator's words."""
    if minimum.plain is None and minimum.spread is None:
        yield "none: the weights are too large for 16 nodes, or no size divides them"
    if minimum.plain:
        yield f"one node, TP {minimum.plain.sizes.tensor_parallel}: {_gb(minimum.plain.device_bytes)} a device"
    if minimum.spread:
        yield _spread(minimum.spread)


def _spread(fit: Fit) -> str:
    nodes = "one node" if fit.nodes == 1 else f"{fit.nodes} nodes"
    sizes = f"TP {fit.sizes.tensor_parallel} and DP {fit.sizes.data_parallel} with expert parallel"
    return f"{nodes}, {sizes}: {_gb(fit.device_bytes)} a device"


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
