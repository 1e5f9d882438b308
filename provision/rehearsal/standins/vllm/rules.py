"""Combinations of arguments that vLLM refuses, in its words."""

from __future__ import annotations

import os
from typing import NoReturn

from provision.rehearsal.standins.vllm.arguments import Arguments, UsageError
from provision.rehearsal.standins.vllm.failure import StartFailed
from provision.rehearsal.standins.vllm.site import Model, Site

_LARGEST_QWEN3_NEXT = 8


def check_arguments(arguments: Arguments) -> None:
    """What the front end refuses before anything starts."""
    if arguments.on("headless") and arguments.number("api-server-count", 0) > 0:
        raise StartFailed("ValueError: api_server_count can't be set in headless mode", in_engine=False)
    _check_balancing(arguments)
    local = arguments.number("data-parallel-size-local", arguments.number("data-parallel-size", 1))
    if local > arguments.number("data-parallel-size", 1):
        raise UsageError("argument --data-parallel-size-local: data_parallel_size_local must be <= data_parallel_size")
    nnodes, rank = arguments.number("nnodes", 1), arguments.number("node-rank", 0)
    if not 0 <= rank < nnodes:
        raise StartFailed(f"ValueError: node_rank ({rank}) must be less than nnodes ({nnodes})", in_engine=False)
    utilization = arguments.fraction("gpu-memory-utilization", 0.9)
    if not 0 < utilization <= 1:
        raise StartFailed(f"ValueError: GPU memory utilization must be in (0, 1]. Got {utilization}.", in_engine=False)


def _check_balancing(arguments: Arguments) -> None:
    """Who balances over data-parallel ranks: this server, one a node, or something outside [vllm engine/arg_utils.py]."""
    size, local = arguments.number("data-parallel-size", 1), arguments.number("data-parallel-size-local", 1)
    if arguments.on("data-parallel-external-lb") and not arguments.has("data-parallel-rank"):
        _refuse(
            "AssertionError: data_parallel_rank or node_rank must be specified if data_parallel_external_lb is enable."
        )
    if arguments.has("data-parallel-rank") and local != 1:
        _refuse("AssertionError: data_parallel_size_local must be 1 or None when data_parallel_rank is set")
    if arguments.on("data-parallel-hybrid-lb") and arguments.on("headless"):
        _refuse("AssertionError: data_parallel_hybrid_lb is not applicable in headless mode")
    if arguments.on("data-parallel-hybrid-lb") and not arguments.has("data-parallel-size-local"):
        _refuse("AssertionError: data_parallel_size_local must be set to use data_parallel_hybrid_lb.")
    rank = arguments.number("data-parallel-rank", arguments.number("data-parallel-start-rank", 0))
    if not 0 <= rank < size and not arguments.on("headless"):
        _refuse(f"ValueError: data_parallel_rank ({rank}) must be in the range [0, {size})")


def _refuse(cause: str) -> NoReturn:
    raise StartFailed(cause, in_engine=False)


def check_model(site: Site, model: Model) -> None:
    """What the configuration of the model rules out."""
    if model.heads % site.tp:
        raise StartFailed(
            f"ValueError: Total number of attention heads ({model.heads}) must be divisible by tensor parallel size ({site.tp}).",
            in_engine=False,
        )
    if model.kind == "qwen3_next" and site.node.is_npu and site.tp > _LARGEST_QWEN3_NEXT:
        raise StartFailed(
            "RuntimeError: call aclnnFusedInferAttentionScoreV3 failed, detail:EZ9999: Inner Error! GQA degenerates to MHA with "
            "tensor parallel size 16 and head dim 256 is not supported"
        )
    if site.tp * site.pp % site.nnodes:
        raise StartFailed(
            f"ValueError: world_size ({site.tp * site.pp}) must be divisible by nnodes ({site.nnodes})", in_engine=False
        )
    ranks = site.tp * site.dp
    if site.arguments.on("enable-expert-parallel") and model.experts and model.experts % ranks:
        raise StartFailed(f"AssertionError: number of experts ({model.experts}) is not divisible by ep size ({ranks})")
    _check_length(site, model)


def _check_length(site: Site, model: Model) -> None:
    length = site.arguments.number("max-model-len", model.positions)
    if length > model.positions and os.environ.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") != "1":
        raise StartFailed(
            f"ValueError: User-specified max_model_len ({length}) is greater than the derived max_model_len "
            f"(max_position_embeddings={model.positions} or model_max_length=None in model's config.json).",
            in_engine=False,
        )
    if length > model.positions // 2 and site.tp < 4 and site.node.is_npu and model.kind == "qwen3_next":
        raise StartFailed("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when "
                          "initializing the engine.")  # fmt: skip


def config_hash(site: Site, model: Model) -> str:
    """What data-parallel engines of a mixture of experts must agree on; other settings are not in it."""
    a = site.arguments
    parts = (site.tp, site.pp, site.dp, a.on("enable-expert-parallel"), a.text("all2all-backend"), a.on("enable-eplb"))
    return repr(parts) if model.experts else "dense"
