"""Model and layout: which tensor-parallel sizes are legal, what fits into memory (S04, S05, S13, S16)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provision.serve import memory as arithmetic
from provision.serve.argv import engine_arguments
from provision.serve.environment import environment
from provision.serve.layout import Layout
from provision.serve.memory import HCCL_BUFFSIZE_MB, MIB, Sizes, WeightBytes
from provision.serve.plan import Site, Violation
from provision.serve.rules.base import Rule, fail, warn
from provision.serve.scenarios import VLLM_UTILIZATION
from provision.serve.shape import ModelShape, tensor_parallel_obstacle
from provision.serve.structured import whole

IDLE_BYTES = 2800 * MIB
"""What an idle die of 64 GB shows as used by the driver at least: 2,800 to 3,900 MB were seen."""

STRETCHING = frozenset({"hf-overrides", "rope-scaling"})
"""Arguments that may lengthen a model's context."""


def legal_tensor_parallel(layout: Layout) -> Iterator[Violation]:
    """S04: the sizes that the profile calls legal [the profile names its source]."""
    profile = layout.profile
    if profile and layout.profile_fits and layout.tp not in profile.tensor_parallel.legal:
        legal = ", ".join(str(size) for size in profile.tensor_parallel.legal)
        yield fail(
            "S04",
            f"tensor_parallel_size {layout.tp}: {profile.tensor_parallel.reason}; legal are {legal}",
            profile.tensor_parallel.source,
        )


def heads_divide(layout: Layout) -> Iterator[Violation]:
    """S04: heads are divided among ranks, of any model whose numbers are known; latent attention has no KV heads to
    divide [vLLM; vllm-ascend Qwen3-Next document 9.1; issue 7729]."""
    if not layout.shape or _profile_speaks(layout):
        return
    obstacle = tensor_parallel_obstacle(layout.shape, layout.tp, npus=bool(layout.accelerator.default_devices))
    if obstacle:
        yield fail("S04", f"tensor_parallel_size {layout.tp} {obstacle.reason}", obstacle.source)


def pipeline(layout: Layout) -> Iterator[Violation]:
    """S04: a pipeline stage holds at least one layer [vLLM pipeline parallel]."""
    if layout.shape and layout.shape.layers and layout.pp > layout.shape.layers:
        yield fail("S04", f"{layout.pp} pipeline stages for {layout.shape.layers} layers", "vLLM pipeline parallel")


def experts_divide(layout: Layout) -> Iterator[Violation]:
    """S05: experts are spread over tensor x data parallel ranks [vLLM expert parallel]."""
    ranks = layout.tp * layout.dp
    if layout.expert_parallel and layout.experts and layout.experts % ranks:
        yield warn(
            "S05",
            f"{layout.experts} experts do not divide evenly over {ranks} ranks (tensor x data parallel)",
            "vLLM expert parallel; vllm-ascend's multi-node configurations all divide",
            _even_experts(layout),
        )


def _even_experts(layout: Layout) -> str:
    """What would divide: other sizes on these nodes, else another number of nodes. Three nodes never divide 512."""
    off = "set serve.expert_parallel: false, where the weights fit without it"
    if layout.topology == "data-parallel" and layout.experts % layout.nodes:
        fewer = max(count for count in range(1, layout.nodes) if layout.experts % count == 0)
        more = next(c for c in range(layout.nodes, layout.experts + 1) if layout.experts % c == 0)
        return f"no sizes on {layout.nodes} nodes divide {layout.experts}: use {fewer} or {more} nodes, or {off}"
    return f"choose sizes whose product divides {layout.experts}, or {off}"


def expert_parallel_of_dense(layout: Layout) -> Iterator[Violation]:
    """S05: expert parallel is for models with experts [vLLM]."""
    if layout.expert_parallel and layout.shape and layout.shape.heads and not layout.experts:
        yield fail(
            "S05",
            "expert parallel is asked for, but the model has no experts",
            "vLLM: --enable-expert-parallel is for mixtures of experts",
            "remove serve.expert_parallel",
        )


def context_parallel(layout: Layout) -> Iterator[Violation]:
    """S13: pipeline stages and prefill context parallel exclude each other [vllm-ascend pipeline parallel guide]."""
    if layout.pp > 1 and layout.context_parallel > 1:
        yield fail(
            "S13",
            f"pipeline_parallel_size {layout.pp} and prefill-context-parallel-size {layout.context_parallel} exclude "
            "each other",
            "vllm-ascend pipeline parallel guide",
            "keep one of them",
        )


def memory(layout: Layout) -> Iterator[Violation]:
    """S16: the weights of a rank, its work and one request fit the share of a device's memory that vLLM may take
    [arithmetic over the model's numbers]."""
    weights = weights_of(layout)
    if weights is None:
        return
    for index, site in enumerate(layout.sites):
        capacity = layout.device_bytes(site)
        if capacity:
            yield from _memory_of(layout, weights, site, capacity * utilization(layout, index))
            return


def _memory_of(layout: Layout, weights: WeightBytes, site: Site, budget: float) -> Iterator[Violation]:
    per_device = weights_per_device(layout)
    share = f"{_gb(per_device)} of weights a device ({_gb(weights.total)} in all)"
    limit = f"the {_gb(budget)} that gpu_memory_utilization leaves of {_gb(layout.device_bytes(site))}"
    source = f"{weights.source}; weights a device = dense / TP + experts / (TP x DP with expert parallel, else TP)"
    if per_device >= budget:
        yield fail("S16", f"{share} exceed {limit}", source)
    elif per_device + reserve(layout) > budget:
        yield warn(
            "S16",
            f"{share} leave little of {limit} for activations, graphs and the KV cache",
            source,
            "raise tensor_parallel_size or gpu_memory_utilization, or lower max_model_len",
        )
    elif per_device + reserve(layout) + request_bytes(layout) > budget:
        tokens, room = longest_request(layout), budget - per_device - reserve(layout)
        fitting = int(room / (request_bytes(layout) / tokens)) // 1024 * 1024
        yield warn(
            "S16",
            f"one request of {tokens} tokens takes {_gb(request_bytes(layout))} of KV cache a device; {_gb(room)} are "
            f"left beside {share}",
            "KV cache = tokens x attention layers x 2 x KV heads a rank x head size x 2 bytes (latent attention: the "
            "latent vector instead of the heads)",
            f"lower max_model_len to about {fitting}, or raise tensor_parallel_size or gpu_memory_utilization",
        )


def free_at_start(layout: Layout) -> Iterator[Violation]:
    """S16: what vLLM is to take is free when it starts [vLLM: "Free memory on device … on startup is less than desired
    GPU memory utilization"]."""
    capacity, share = layout.device_bytes(layout.sites[0]), utilization(layout, 0)
    if capacity and layout.accelerator.default_devices and capacity * (1 - share) < IDLE_BYTES:
        yield warn(
            "S16",
            f"gpu_memory_utilization {share:g} leaves {_gb(capacity * (1 - share))} of a device, and the driver alone "
            f"takes {_gb(IDLE_BYTES)} or more of an idle one",
            "vLLM refuses to start where less is free than it is to take; idle dies as seen in the field",
            "lower serve.gpu_memory_utilization to 0.95 or less",
        )


def reserve(layout: Layout) -> int:
    """Bytes of a device beside weights and KV cache, with the HCCL_BUFFSIZE of this layout [CANN manual,
    HCCL_BUFFSIZE]."""
    return arithmetic.reserve_bytes(whole(environment(layout, 0)[0].get("HCCL_BUFFSIZE")) or HCCL_BUFFSIZE_MB)


def longest_request(layout: Layout) -> int:
    """Tokens of the longest request: --max-model-len, else the model's context; 0 where neither is known."""
    given = whole(engine_arguments(layout, 0).get("max-model-len"))
    return given or (layout.shape.context if layout.shape else 0)


def request_bytes(layout: Layout) -> float:
    """Bytes of KV cache that the longest request takes on each device; 0 where the model's numbers aren't known."""
    return arithmetic.request_bytes(_cached_shape(layout), longest_request(layout), sizes_of(layout))


def _cached_shape(layout: Layout) -> ModelShape | None:
    """The shape, with the profile's word on which layers have a KV cache where the shape has none."""
    known = layout.profile.shape.attention_layers if layout.profile else 0
    if not layout.shape or layout.shape.attention_layers or not known:
        return layout.shape
    return replace(layout.shape, attention_layers=known)


def context(layout: Layout) -> Iterator[Violation]:
    """S16: no request can be longer than the model's context, unless vLLM is told to stretch it [vLLM]."""
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


def weights_of(layout: Layout) -> WeightBytes | None:
    """The sizes of the weights of this layout, where they are known and memory is a limit."""
    return arithmetic.weight_bytes(layout.profile if layout.profile_fits else None, layout.shape)


def sizes_of(layout: Layout) -> Sizes:
    """How the layout spreads an engine."""
    return Sizes(layout.tp, layout.dp, layout.pp, layout.expert_parallel)


def weights_per_device(layout: Layout) -> float:
    """Bytes of weights that each device holds; 0: not known."""
    weights = weights_of(layout)
    return arithmetic.weights_a_device(weights, sizes_of(layout)) if weights else 0.0


def utilization(layout: Layout, index: int) -> float:
    """The share of a device's memory that vLLM may take on site ``index``."""
    value = engine_arguments(layout, index).get("gpu-memory-utilization")
    try:
        return float(str(value)) if value is not None else VLLM_UTILIZATION
    except ValueError:
        return VLLM_UTILIZATION


def _profile_speaks(layout: Layout) -> bool:
    return layout.profile_fits


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


RULES: tuple[Rule, ...] = (
    legal_tensor_parallel,
    heads_divide,
    pipeline,
    experts_divide,
    expert_parallel_of_dense,
    context_parallel,
    memory,
    free_at_start,
    context,
)
