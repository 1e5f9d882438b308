"""Prefill and decode apart (S12), as far as one cluster's ``kv-transfer-config`` shows both sides.

A cluster of this tool is one group of engines. Two can be made a prefill and a decode side by hand; each then says in
its connector what both look like, which is judged here.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, representatives, warn
from provision.serve.structured import Structure, at, connectors, structure, whole

_SOURCE = "vllm-ascend disaggregation guide: both sides carry the same prefill and decode block, of the real topology"
_SIDES = {"kv_producer": "prefill", "kv_consumer": "decode"}


def real_topology(layout: Layout) -> Iterator[Violation]:
    """S12: the block of the side that this cluster is describes it [vllm-ascend disaggregation guide]."""
    for connector in connectors(layout, 0):
        side = _SIDES.get(str(connector.get("kv_role")), "")
        for key, real in (("dp_size", layout.dp), ("tp_size", layout.tp)):
            said = whole(at(connector, "kv_connector_extra_config", side, key)) if side else None
            if said is not None and said != real:
                yield fail(
                    "S12",
                    f"kv-transfer-config says that {side} has {key} {said}, but this cluster has {real}",
                    _SOURCE,
                    f"set kv_connector_extra_config.{side}.{key}: {real}, here and on the other side",
                )


def sides_fit(layout: Layout) -> Iterator[Violation]:
    """S12: prefill's tensor parallel is a multiple of decode's, and decode has one pipeline stage [vllm-ascend guide,
    pipeline parallel: limits of MooncakeConnectorV1]."""
    source = "vllm-ascend pipeline parallel guide: limits of MooncakeConnectorV1"
    for connector in connectors(layout, 0):
        prefill = whole(at(connector, "kv_connector_extra_config", "prefill", "tp_size"))
        decode = whole(at(connector, "kv_connector_extra_config", "decode", "tp_size"))
        if prefill and decode and prefill % decode:
            yield fail(
                "S12",
                f"prefill's tp_size {prefill} is no multiple of decode's {decode}",
                source,
                "choose a prefill tp_size that is decode's, or a multiple of it",
            )
        stages = whole(at(connector, "kv_connector_extra_config", "decode", "pp_size")) or 1
        if connector.get("kv_role") == "kv_consumer":
            stages = max(stages, layout.pp)
        if stages > 1:
            reason = f"the decode side has {stages} pipeline stages, and can have one"
            yield fail("S12", reason, source, "set pipeline_parallel_size: 1 on the decode side, and pp_size: 1")


def speculative_tokens(layout: Layout) -> Iterator[Violation]:
    """S12: a model without recurrent layers drafts one token on the prefill side; hybrid ones as many as on the decode
    side [vllm-ascend disaggregation guide]."""
    drafted = whole(structure(layout, 0, "speculative-config").get("num_speculative_tokens"))
    hybrid = layout.shape is not None and layout.shape.architecture.startswith(("Qwen3Next", "Qwen3_5"))
    producer = any(connector.get("kv_role") == "kv_producer" for connector in connectors(layout, 0))
    if producer and drafted is not None and drafted != 1 and layout.shape and not hybrid:
        yield fail(
            "S12",
            f"the prefill side drafts {drafted} tokens, and must draft 1",
            "vllm-ascend disaggregation guide: num_speculative_tokens",
            "set speculative-config.num_speculative_tokens: 1 on the prefill side",
        )


def recomputing(layout: Layout) -> Iterator[Violation]:
    """S12: the recomputing scheduler belongs to the decode side alone [vllm-ascend release notes]."""
    for index in representatives(layout):
        given = structure(layout, index, "additional-config")
        if not (given.get("recompute_scheduler_enable") or _scheduler(given).get("recompute_scheduler_enable")):
            continue
        roles = {str(connector.get("kv_role")) for connector in connectors(layout, index)}
        source = "vllm-ascend release notes: recompute_scheduler_enable is for kv_consumer"
        remedy = "take recompute_scheduler_enable out of additional-config"
        if "kv_consumer" in roles:
            continue
        if "kv_producer" in roles:
            yield warn("S12", "recompute_scheduler_enable is ignored on the prefill side", source, remedy)
        else:
            yield fail("S12", "recompute_scheduler_enable stops a server that is no decode side", source, remedy)


def _scheduler(given: Structure) -> Structure:
    found = at(given, "scheduler_config")
    return found if isinstance(found, dict) else {}


RULES: tuple[Rule, ...] = (real_topology, sides_fit, speculative_tokens, recomputing)
