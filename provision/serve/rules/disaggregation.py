"""Prefill and decode apart (S12), as far as one group's ``kv-transfer-config`` in ``engine_args`` shows both sides.

With topology prefill-decode both sides are one cluster, whose ``kv-transfer-config`` is computed; ``sides`` judges
them beside each other. But two clusters can be made a prefill and a decode side by hand, and a side may be given its
own connector; each then says in it what both look like, which is judged here.
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, representatives, warn
from provision.serve.structured import Structure, at, connectors, structure, whole

_SOURCE = "vllm-ascend disaggregation guide: both sides carry the same prefill and decode block, of the real topology"
_SIDES = {"kv_producer": "prefill", "kv_consumer": "decode"}
_ROLES = {side: role for role, side in _SIDES.items()}


def kv_roles(layout: Layout, index: int) -> set[str]:
    """What the site does with KV caches: kv_producer, kv_consumer, kv_both; empty: nothing."""
    given = {str(connector.get("kv_role")) for connector in connectors(layout, index)}
    return given or ({_ROLES[layout.role]} if layout.role else set())


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
    for connector in connectors(layout, 0) if not layout.role else ():
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
    """S12: a model without recurrent layers drafts one token on the prefill side; upstream's own cases for GLM-5.1
    draft more [vllm-ascend disaggregation guide]."""
    drafted = drafted_tokens(layout)
    if "kv_producer" in kv_roles(layout, 0) and drafted and drafted != 1 and layout.shape and not recurrent(layout):
        yield warn(
            "S12",
            f"the prefill side drafts {drafted} tokens, and is to draft 1",
            "vllm-ascend disaggregation guide: num_speculative_tokens",
            "set speculative-config.num_speculative_tokens: 1 on the prefill side",
        )


def drafted_tokens(layout: Layout) -> int:
    """Tokens that are drafted for a step; 0: none."""
    return whole(structure(layout, 0, "speculative-config").get("num_speculative_tokens")) or 0


def recurrent(layout: Layout) -> bool:
    """Whether some of the model's layers keep a state, as Qwen3-Next's do."""
    shape = layout.shape
    return shape is not None and (shape.hybrid or shape.architecture.startswith(("Qwen3Next", "Qwen3_5")))


def recomputing(layout: Layout) -> Iterator[Violation]:
    """S12: the recomputing scheduler belongs to the decode side alone [vllm-ascend release notes]."""
    for index in representatives(layout):
        given = structure(layout, index, "additional-config")
        if not (given.get("recompute_scheduler_enable") or _scheduler(given).get("recompute_scheduler_enable")):
            continue
        roles = kv_roles(layout, index)
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
