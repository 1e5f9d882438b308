"""Prefill and decode beside each other (S12): what neither side shows on its own.

The sizes that ``kv-transfer-config`` names are computed from the real groups; here stands what operators decide: the
two sides' tensor parallel, their caches, drafts, and what a side gives by hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from provision.registry import did_you_mean
from provision.serve.argv import engine_arguments, positive
from provision.serve.environment import environment
from provision.serve.kv import is_mooncake, role_arguments, sizes
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.profiles import Argument
from provision.serve.rules.base import Rule, Together, fail, warn
from provision.serve.rules.disaggregation import drafted_tokens, recurrent
from provision.serve.structured import at, connectors, whole
from provision.serve.topologies.base import topology

CONNECTORS = (
    "AscendStoreConnector",
    "DecodeBenchConnector",
    "ExampleConnector",
    "ExampleHiddenStatesConnector",
    "FlexKVConnectorV1",
    "HF3FSKVConnector",
    "HiSparseConnector",
    "LMCacheConnectorV1",
    "LMCacheMPConnector",
    "MoRIIOConnector",
    "MooncakeConnector",
    "MooncakeConnectorStoreV1",
    "MooncakeConnectorV1",
    "MooncakeHybridConnector",
    "MooncakeLayerwiseConnector",
    "MooncakeStoreConnector",
    "MultiConnector",
    "NixlConnector",
    "NixlPullConnector",
    "NixlPushConnector",
    "OffloadingConnector",
    "P2pNcclConnector",
    "RecomputeCPUOffloadConnector",
    "SfaRemoteD2HConnector",
    "SharedStorageConnector",
    "SimpleCPUOffloadConnector",
    "UCMConnector",
)
"""Those that vllm-ascend and vLLM register [vllm_ascend/distributed/kv_transfer/__init__.py; vLLM
kv_connector/factory.py]."""

_GUIDE = "vllm-ascend disaggregation guide"
_LIMITS = "vllm-ascend pipeline parallel guide: limits of MooncakeConnectorV1"
_KV_ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}


def connector_known(layout: Layout) -> Iterator[Violation]:
    """S12: the connector is one that vLLM or vllm-ascend has [vllm-ascend distributed/kv_transfer]."""
    name = layout.head.serve.kv_transfer.connector
    if layout.topology == "prefill-decode" and name not in CONNECTORS:
        near = did_you_mean(name, CONNECTORS)
        remedy = near if near.startswith("did you mean") else "leave it, if your image registers it"
        yield warn("S12", f"serve.kv_transfer.connector {name} is not known", "vllm-ascend and vLLM's lists", remedy)


def recurrent_model(layout: Layout) -> Iterator[Violation]:
    """S09: prefill and decode apart is unproven for Qwen3-Next and its kind [vllm-ascend support matrix; issues 8421,
    10961]."""
    if layout.topology == "prefill-decode" and recurrent(layout) and layout.accelerator.default_devices:
        yield warn(
            "S09",
            "prefill-decode of a model with recurrent layers is experimental, and wrong answers were reported",
            "vllm-ascend support matrix (the cell is blank); release notes 0.18.0; issues 8421, 10961",
            "measure its accuracy before use, or prefer data-parallel or replicas",
        )


def _first(groups: Sequence[Layout], role: str) -> Layout | None:
    return next((group for group in groups if group.role == role), None)


def _pair(groups: Sequence[Layout]) -> tuple[Layout, Layout] | None:
    """The first group of each side: those of one side have the same sizes."""
    prefill, decode = _first(groups, "prefill"), _first(groups, "decode")
    return (prefill, decode) if prefill and decode else None


def _connector(group: Layout) -> str:
    """The connector of a group: what ``engine_args`` gives, else the computed one."""
    given = [str(each.get("kv_connector", "")) for each in connectors(group, 0)]
    return next((name for name in given if name != "MultiConnector"), group.head.serve.kv_transfer.connector)


def wide_prefill(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S12: prefill's tensor parallel is decode's, or a multiple of it, and decode has one stage [vllm-ascend pipeline
    parallel guide]."""
    pair = _pair(groups)
    if pair is None or not is_mooncake(_connector(pair[0])):
        return
    prefill, decode = pair
    if prefill.tp % decode.tp:
        yield fail(
            "S12",
            f"prefill's tensor_parallel_size {prefill.tp} is no multiple of decode's {decode.tp}",
            _LIMITS,
            "choose a prefill tensor_parallel_size that is decode's, or a multiple of it",
        )
    if decode.pp > 1:
        reason = f"the decode side has {decode.pp} pipeline stages, and can have one"
        yield fail("S12", reason, _LIMITS, "set pipeline_parallel_size: 1 for the hosts of decode")


def given_blocks(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S12: a kv-transfer-config in engine_args describes both sides as they are, and the role of its own [vllm-ascend
    disaggregation guide: both sides carry the same blocks]."""
    real = {group.role: sizes(group) for group in groups}
    for group in (group for group in groups if group.role):
        for connector in connectors(group, 0):
            role = connector.get("kv_role")
            if role is not None and role not in (_KV_ROLES[group.role], "kv_both"):
                reason = f"{group.group}: kv-transfer-config has kv_role {role}, but its hosts are {group.role}"
                yield fail("S12", reason, _GUIDE, f"set kv_role: {_KV_ROLES[group.role]}, or leave it to be computed")
            for side, numbers in real.items():
                for key, number in numbers.items():
                    said = whole(at(connector, "kv_connector_extra_config", side, key))
                    if said is not None and said != number:
                        yield fail(
                            "S12",
                            f"{group.group}: kv-transfer-config says that {side} has {key} {said}, but it has {number}",
                            f"{_GUIDE}: both sides carry the same prefill and decode block, of the real topology",
                            "take kv-transfer-config out of engine_args: it is computed (serve.kv_transfer), or "
                            f"set kv_connector_extra_config.{side}.{key}: {number}",
                        )


def same_cache(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S12: blocks that one side hands over are what the other takes; what is read fits what is written [vllm-ascend
    disaggregation guide; vLLM, KV connectors]."""
    pair = _pair(groups)
    if pair is None:
        return
    prefill, decode = (engine_arguments(group, 0) for group in pair)
    for name in ("block-size", "kv-cache-dtype", "quantization"):
        if prefill.get(name) != decode.get(name):
            make = warn if name == "quantization" else fail
            yield make(
                "S12",
                f"argument {name} is {_value(prefill, name)} for prefill and {_value(decode, name)} for decode",
                "vLLM: a KV cache is handed over as blocks of one size and kind",
                "set it for the whole cluster",
            )
    read, written = whole(prefill.get("max-model-len")), whole(decode.get("max-model-len"))
    if read and written and written < read:
        yield warn(
            "S12",
            f"max-model-len is {read} for prefill and {written} for decode: longer prompts are read in vain",
            "vLLM refuses a request that is longer than its max-model-len",
            "set decode's max_model_len to prefill's, or higher",
        )


def _value(arguments: Mapping[str, Argument], name: str) -> str:
    return str(arguments[name]) if name in arguments else "not given"


def same_drafts(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S12: a model with recurrent layers drafts as many tokens on both sides [vllm-ascend disaggregation guide]."""
    pair = _pair(groups)
    if pair is None or not recurrent(layout):
        return
    prefill, decode = (drafted_tokens(group) for group in pair)
    if prefill != decode:
        yield fail(
            "S12",
            f"prefill drafts {prefill or 'no'} tokens and decode {decode or 'none'}: with recurrent layers both must "
            "draft as many",
            f"{_GUIDE}: num_speculative_tokens of hybrid models",
            "set the same speculative-config for the whole cluster",
        )


def prefill_graphs(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S12: prefill runs without graphs, which its prompts of any length would hardly meet [vllm-ascend disaggregation
    guide]."""
    prefill = _first(groups, "prefill")
    if prefill is None or not layout.accelerator.default_devices:
        return
    final = {**role_arguments(prefill, 0), **engine_arguments(prefill, 0)}
    if not final.get("enforce-eager"):
        yield warn(
            "S12",
            f"{prefill.group} captures graphs: enforce-eager is not set",
            f"{_GUIDE}: prefill with --enforce-eager",
            "set enforce-eager: true in engine_args of the hosts of prefill",
        )


def decode_prefixes(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S12: decode keeps no prefixes: it is handed each cache whole [vllm-ascend issue 7944]."""
    decode = _first(groups, "decode")
    if decode is None or not layout.accelerator.default_devices or layout.head.serve.kv_pool:
        return
    final = {**role_arguments(decode, 0), **engine_arguments(decode, 0)}
    said = [
        bool(value) == (name == "enable-prefix-caching")
        for name, value in final.items()
        if positive(name) == "enable-prefix-caching" and value is not None
    ]
    if not said or said[-1]:
        yield warn(
            "S12",
            f"{decode.group} caches prefixes, which is vLLM's default",
            "vllm-ascend issue 7944",
            "set no-enable-prefix-caching: true in engine_args of the hosts of decode",
        )


def engine_ids(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S12: each server has an engine_id of its own; upstream's external cases share one a group [vllm-ascend
    disaggregation guide]."""
    if layout.topology != "prefill-decode":
        return
    counts: Counter[str] = Counter()
    for group in groups:
        for seat in topology(group.topology).seats(group):
            given = [each.get("engine_id") for each in connectors(group, seat.index) if each.get("engine_id")]
            chosen = given or [group.settings[seat.index].serve.kv_transfer.engine_id]
            if chosen[0] and not seat.headless:
                counts[str(chosen[0])] += 1
    for name, count in counts.items():
        if count > 1:
            yield warn(
                "S12",
                f"engine_id {name} is given to {count} servers",
                f"{_GUIDE}: engine_id must be unique; servers that meet with one id fail: Conflict engine id",
                "leave serve.kv_transfer.engine_id out: each server is given one of its own",
            )


def one_seed(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S07: blocks of a pool are found by their hashes, which all nodes must compute alike [vllm-ascend KV pool guide,
    PYTHONHASHSEED]."""
    if layout.head.serve.kv_pool is None:
        return
    seeds: dict[str, str] = {}
    for group in groups:
        for index, site in enumerate(group.sites):
            final = environment(group, index, defaults={"PYTHONHASHSEED": "0"})[0]
            seeds[site.node] = final.get("PYTHONHASHSEED", "random")
    if len(set(seeds.values())) > 1 or "random" in seeds.values():
        listed = ", ".join(f"{node} {seed}" for node, seed in list(seeds.items())[:4])
        yield fail(
            "S07",
            f"PYTHONHASHSEED differs among nodes that share a KV pool: {listed}",
            "vllm-ascend KV pool guide: PYTHONHASHSEED=0 on all nodes",
            "leave it out of serve.env: it is 0 then",
        )


WHOLE: tuple[Rule, ...] = (connector_known, recurrent_model)
TOGETHER: tuple[Together, ...] = (
    wide_prefill,
    given_blocks,
    same_cache,
    same_drafts,
    prefill_graphs,
    decode_prefixes,
    engine_ids,
    one_seed,
)
