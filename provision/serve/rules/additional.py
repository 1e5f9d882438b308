"""``additional-config`` and what goes with it: nothing deprecated, nothing that contradicts (S08, S18)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from provision.serve.argv import engine_arguments
from provision.serve.environment import environment
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, representatives, warn
from provision.serve.rules.disaggregation import kv_roles
from provision.serve.structured import at, structure

_NOTES = "vllm-ascend release notes"
_FLASH = "vllm-ascend ascend_config.py: FlashComm is deprecated, though tutorials still set it"

_EPLB = (
    "write eplb_config: {…}, with DYNAMIC_EPLB in serve.env: at the top it is read no longer",
    "vllm-ascend ascend_config.py, EplbConfig",
)

DEPRECATED: Mapping[str, tuple[str, str]] = {
    "enable_flashcomm1": ("remove it", _FLASH),
    "enable_balance_scheduling": ("write scheduler_config: {enable_balance_scheduling: …}", _NOTES),
    "recompute_scheduler_enable": ("write scheduler_config: {recompute_scheduler_enable: …}", _NOTES),
    "short_request_first_config": ("write scheduler_config: {short_request_first_config: …}", _NOTES),
    "dynamic_eplb": _EPLB,
    "expert_heat_collection_interval": _EPLB,
    "algorithm_execution_interval": _EPLB,
    "profiling_chunk_config": ("write scheduler_config: {profiling_chunk_config: …}", _NOTES),
}
"""Keys at the top of additional-config that are on their way out: (what to do, who says so)."""


def deprecated_keys(layout: Layout) -> Iterator[Violation]:
    """S18: keys of additional-config whose days are counted [vllm-ascend release notes]."""
    for index in representatives(layout):
        decode = "kv_consumer" in kv_roles(layout, index)
        for key in structure(layout, index, "additional-config"):
            if key in DEPRECATED and (decode or key != "recompute_scheduler_enable"):  # S12 says more of it
                remedy, source = DEPRECATED[key]
                yield warn("S18", f"additional-config: {key} is deprecated", source, remedy)


def one_expert_balancer(layout: Layout) -> Iterator[Violation]:
    """S08: experts are balanced by vLLM or by vllm-ascend, never by both [vllm-ascend release notes]."""
    for index in representatives(layout):
        arguments, final = engine_arguments(layout, index), environment(layout, index)[0]
        dynamic = at(structure(layout, index, "additional-config"), "eplb_config", "dynamic_eplb")
        if arguments.get("enable-eplb") is True and (dynamic or final.get("DYNAMIC_EPLB", "").lower() == "true"):
            yield fail(
                "S08",
                "engine_args: enable-eplb contradicts dynamic_eplb of additional-config (or DYNAMIC_EPLB)",
                "vllm-ascend release notes: model runner V2 takes --enable-eplb, V1 eplb_config; both fail to start",
                "keep one of them",
            )


RULES: tuple[Rule, ...] = (deprecated_keys, one_expert_balancer)
