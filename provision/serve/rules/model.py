"""Model and layout: which tensor-parallel sizes are legal, what fits into memory (S04, S05, S16)."""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve.argv import engine_arguments
from provision.serve.layout import Layout
from provision.serve.plan import Site, Violation
from provision.serve.rules.base import Rule, fail, warn

VLLM_UTILIZATION = 0.9
"""vLLM's own --gpu-memory-utilization where none is given."""

RESERVE_BYTES = 5 * 1024**3
"""Activations, graphs and HCCL buffers of one device beside weights and KV cache: 3 to 6 GB as seen in practice."""

STRETCHING = frozenset({"hf-overrides", "rope-scaling"})
"""Arguments that may lengthen a model's context."""


def legal_tensor_parallel(layout: Layout) -> Iterator[Violation]:
    """S04 of the profile."""
    profile = layout.profile
    if profile and layout.profile_applies and layout.tp not in profile.tensor_parallel.legal:
        legal = ", ".join(str(size) for size in profile.tensor_parallel.legal)
        yield fail(
            "S04",
            f"tensor_parallel_size {layout.tp}: {profile.tensor_parallel.reason}; legal are {legal}",
            profile.tensor_parallel.source,
        )


def heads_divide(layout: Layout) -> Iterator[Violation]:
    """S04 of any model whose numbers are known."""
    shape = layout.shape
    if not shape or not shape.heads or _profile_speaks(layout):
        return
    if shape.heads % layout.tp:
        yield fail(
            "S04",
            f"tensor_parallel_size {layout.tp} does not divide the model's {shape.heads} attention heads",
            "vLLM: num_attention_heads must be divisible by tensor parallel size",
        )
    elif shape.kv_heads and shape.kv_heads % layout.tp and layout.tp % shape.kv_heads:
        yield fail(
            "S04",
            f"tensor_parallel_size {layout.tp} does not fit the model's {shape.kv_heads} KV heads",
            "vLLM: KV heads are divided among ranks, or each copied to the same number of ranks",
        )


def wide_qwen3_next(layout: Layout) -> Iterator[Violation]:
    """S04 of a Qwen3-Next that is served without its profile."""
    shape = layout.shape
    if not shape or not shape.architecture.startswith("Qwen3Next") or _profile_speaks(layout) or not shape.heads:
        return
    degenerate = shape.kv_heads < shape.heads <= layout.tp
    if degenerate and shape.head_dim == 256 and layout.accelerator.default_devices:
        yield fail(
            "S04",
            f"tensor_parallel_size {layout.tp}: one query head a rank turns grouped-query into multi-head attention, "
            "where the FIA operator fails at head dimension 256",
            "vllm-ascend Qwen3-Next document, section 9.1; vllm-ascend issue 7729",
        )


def pipeline(layout: Layout) -> Iterator[Violation]:
    """S04: a pipeline stage holds at least one layer."""
    if layout.shape and layout.shape.layers and layout.pp > layout.shape.layers:
        yield fail("S04", f"{layout.pp} pipeline stages for {layout.shape.layers} layers", "vLLM pipeline parallel")


def experts_divide(layout: Layout) -> Iterator[Violation]:
    """S05: experts are spread over tensor x data parallel ranks."""
    ranks = layout.tp * layout.dp
    if layout.expert_parallel and layout.experts and layout.experts % ranks:
        yield warn(
            "S05",
            f"{layout.experts} experts do not divide evenly over {ranks} ranks (tensor x data parallel)",
            "vLLM expert parallel",
            "choose sizes whose product divides the number of experts, or set serve.expert_parallel: false",
        )


def expert_parallel_of_dense(layout: Layout) -> Iterator[Violation]:
    """S05: expert parallel is for models with experts."""
    if layout.expert_parallel and layout.shape and layout.shape.heads and not layout.experts:
        yield fail(
            "S05",
            "expert parallel is asked for, but the model has no experts",
            "vLLM: --enable-expert-parallel is for mixtures of experts",
            "remove serve.expert_parallel",
        )


def memory(layout: Layout) -> Iterator[Violation]:
    """S16: the weights of a rank, and room for its work, fit the share of a device's memory that vLLM may take."""
    profile = layout.profile
    if not profile or not layout.profile_applies:
        return
    for index, site in enumerate(layout.sites):
        capacity = layout.device_bytes(site)
        if capacity:
            yield from _memory_of(layout, site, capacity * utilization(layout, index))
            return


def _memory_of(layout: Layout, site: Site, budget: float) -> Iterator[Violation]:
    assert layout.profile is not None
    weights = layout.profile.weights
    per_device = bytes_per_device(layout)
    share = f"{_gb(per_device)} of weights a device ({_gb(weights.total_bytes)} in all)"
    limit = f"the {_gb(budget)} that gpu_memory_utilization leaves of {_gb(layout.device_bytes(site))}"
    source = f"{weights.source}; weights a device = dense / TP + experts / (TP x DP with expert parallel, else TP)"
    if per_device >= budget:
        yield fail("S16", f"{share} exceed {limit}", source)
    elif per_device + RESERVE_BYTES > budget:
        yield warn(
            "S16",
            f"{share} leave little of {limit} for activations, graphs and the KV cache",
            source,
            "raise tensor_parallel_size or gpu_memory_utilization, or lower max_model_len",
        )


def context(layout: Layout) -> Iterator[Violation]:
    """S16: no request can be longer than the model's context, unless vLLM is told to stretch it."""
    given = engine_arguments(layout, 0)
    wanted, longest = given.get("max-model-len"), layout.shape.context if layout.shape else 0
    stretched = STRETCHING & given.keys() or "VLLM_ALLOW_LONG_MAX_MODEL_LEN" in layout.head.serve.env
    if longest and isinstance(wanted, int) and wanted > longest and not stretched:
        yield fail(
            "S16",
            f"max_model_len {wanted} exceeds the {longest} tokens of the model's context",
            "vLLM refuses to start: --max-model-len greater than the derived max_model_len",
            f"lower it to {longest} or less, or stretch the context: engine_args.hf-overrides",
        )


def bytes_per_device(layout: Layout) -> float:
    """Bytes of weights that each device holds. Pipeline stages share the layers evenly."""
    assert layout.profile is not None
    weights = layout.profile.weights
    dense = (weights.total_bytes - weights.expert_bytes) / layout.tp
    experts = weights.expert_bytes / (layout.tp * layout.dp if layout.expert_parallel else layout.tp)
    return (dense + experts) / layout.pp


def utilization(layout: Layout, index: int) -> float:
    """The share of a device's memory that vLLM may take on site ``index``."""
    value = engine_arguments(layout, index).get("gpu-memory-utilization")
    try:
        return float(str(value)) if value is not None else VLLM_UTILIZATION
    except ValueError:
        return VLLM_UTILIZATION


def _profile_speaks(layout: Layout) -> bool:
    return layout.profile is not None and layout.profile_applies


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


RULES: tuple[Rule, ...] = (
    legal_tensor_parallel,
    heads_divide,
    wide_qwen3_next,
    pipeline,
    experts_divide,
    expert_parallel_of_dense,
    memory,
    context,
)
