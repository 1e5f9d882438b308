"""The oddities of upstream's own configurations, as far as an inventory can hold them: each warns, or is legal."""

from __future__ import annotations

from typing import Any

import pytest

from provision.serve.lint import lint
from provision.serve.plan import Violation
from provision.serve.shape import ModelShape
from tests.serve.clusters import settings, sites

Hosts = list[dict[str, Any]]
TWO: dict[str, Any] = {"topology": "data-parallel", "tensor_parallel_size": 8, "data_parallel_size": 4}
APART: dict[str, Any] = {"topology": "prefill-decode", "group_topology": "single", "tensor_parallel_size": 4}
SIDES: Hosts = [{"role": "prefill"}, {"role": "decode"}]
DEEPSEEK = ModelShape(architecture="DeepseekV3ForCausalLM", heads=128, kv_heads=128, latent_dim=576)


def found(serve: dict[str, Any], hosts: Hosts, **more: Any) -> tuple[Violation, ...]:
    each = [settings("atlas-800-a3", **more, **{**serve, **host}) for host in hosts]
    return lint(list(zip(sites("atlas-800-a3", len(each)), each, strict=True)), shape=DEEPSEEK)


def args(**given: Any) -> dict[str, Any]:
    return {"engine_args": {name.replace("_", "-"): value for name, value in given.items()}}


WARNED: dict[str, tuple[dict[str, Any], Hosts, dict[str, Any], str, str]] = {
    "1 fewer devices than declared": (
        {**TWO, "data_parallel_size": 2},
        [{}, {}],
        {"devices": tuple(range(16))},
        "S03",
        "8 of the 16 devices",
    ),
    "2 a port on headless nodes": (
        TWO,
        [{"argument_order": ("host", "port", "headless")}] * 2,
        {},
        "S06",
        "host and port on node2, which is headless",
    ),
    "3 gpu-memory-utilization of a worker": (
        TWO,
        [{"gpu_memory_utilization": 0.92}, {"gpu_memory_utilization": 0.9}],
        {},
        "S07",
        "argument gpu-memory-utilization of node2",
    ),
    "4 additional-config within a group": (
        TWO,
        [args(additional_config={"enable_dsa_cp": True}), args(additional_config={"enable_dsa_cp": False})],
        {},
        "S07",
        "argument additional-config of node2",
    ),
    "5 the balancer's old keys": (
        APART,
        [SIDES[0], {**SIDES[1], **args(additional_config={"dynamic_eplb": True})}],
        {},
        "S18",
        "decode: additional-config: dynamic_eplb is deprecated",
    ),
    "7 an argument twice": (
        TWO,
        [{"argument_order": ("max-num-batched-tokens=32", "max-num-batched-tokens=4096")}] * 2,
        {},
        "S08",
        "max-num-batched-tokens is written 2 times",
    ),
    "8 one engine_id for a group": (
        {**APART, "group_topology": "external-dp", "data_parallel_size": 4},
        [{**side, "kv_transfer": {"engine_id": side["role"]}} for side in SIDES],
        {},
        "S12",
        "engine_id prefill is given to 4 servers",
    ),
    "9 kv_port in Mooncake's range": (
        {**APART, "kv_transfer": {"port": 30100}},
        SIDES,
        {},
        "S11",
        "serve.kv_transfer.port 30100 lies in 20000-35999",
    ),
    "10 milliseconds": (TWO, [{"env": {"VLLM_RPC_TIMEOUT": 3600}}] * 2, {}, "S15", "VLLM_RPC_TIMEOUT=3600"),
    "14 FlashComm": (TWO, [{"env": {"VLLM_ASCEND_ENABLE_FLASHCOMM1": 1}}] * 2, {}, "S18", "FLASHCOMM1 is deprecated"),
    "14 balance": (TWO, [{"env": {"VLLM_ASCEND_BALANCE_SCHEDULING": 1}}] * 2, {}, "S18", "BALANCE_SCHEDULING"),
    "14 the old time-out": (
        APART,
        [{**side, "env": {"VLLM_NIXL_ABORT_REQUEST_TIMEOUT": 480}} for side in SIDES],
        {},
        "S18",
        "VLLM_NIXL_ABORT_REQUEST_TIMEOUT is deprecated",
    ),
    "15 a path in a hub's cache": (
        TWO,
        [{}, {}],
        {"path": "/root/.cache/modelscope/hub/models/vllm-ascend/Qwen3-235B-A22B-W8A8"},
        "S08",
        "lies in the cache of a hub",
    ),
    "15 a draft model of its own": (
        TWO,
        [args(speculative_config={"model": "lightseekorg/kimi-k2.5-eagle3", "num_speculative_tokens": 3})] * 2,
        {},
        "S17",
        "would be downloaded by every server",
    ),
    "15 a draft model elsewhere": (
        TWO,
        [args(speculative_config={"model": "/data/drafts/eagle3", "num_speculative_tokens": 3})] * 2,
        {},
        "S17",
        "is not mounted, only /data/weights/model is",
    ),
    "17 a variable of another name": (
        TWO,
        [{"env": {"LD_PRELOAD": "$LIBRARIES/libjemalloc.so.2"}}] * 2,
        {},
        "S20",
        "LD_PRELOAD holds $LIBRARIES",
    ),
    "20 recomputing on the prefill side": (
        APART,
        [{**SIDES[0], **args(additional_config={"recompute_scheduler_enable": True})}, SIDES[1]],
        {},
        "S12",
        "prefill: recompute_scheduler_enable is ignored",
    ),
    "GLM-5.1 drafts three tokens on the prefill side": (
        APART,
        [
            {**side, **args(speculative_config={"method": "deepseek_mtp", "num_speculative_tokens": 3})}
            for side in SIDES
        ],
        {},
        "S12",
        "prefill: the prefill side drafts 3 tokens",
    ),
}

LEGAL: dict[str, tuple[dict[str, Any], Hosts, dict[str, Any]]] = {
    "6 a default rpc port on one side": (
        {**APART, "group_topology": "data-parallel", "data_parallel_size": 4},
        [{**SIDES[0], "data_parallel_rpc_port": 29550}, {**SIDES[1], "data_parallel_rpc_port": 10543}],
        {},
    ),
    "11 time-outs of each side": (
        APART,
        [
            {**SIDES[0], "env": {"HCCL_EXEC_TIMEOUT": 204, "HCCL_CONNECT_TIMEOUT": 6000}},
            {**SIDES[1], "env": {"HCCL_CONNECT_TIMEOUT": 1200}},
        ],
        {},
    ),
    "12 values with spaces, and of all kinds": (
        TWO,
        [{"env": {"HCCL_OP_RETRY_ENABLE": "L0:0, L1:0, L2:0", "OMP_PROC_BIND": False, "OMP_NUM_THREADS": 1}}] * 2,
        {},
    ),
    "13 underscores": (TWO, [{"engine_args": {"additional_config": {"a": 1}}}] * 2, {}),
    "17 a variable that extends itself": (
        TWO,
        [{"env": {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2:$LD_PRELOAD"}}] * 2,
        {},
    ),
    "18 an explicit start rank": (TWO, [{"argument_order": ("data-parallel-start-rank",)}] * 2, {}),
}

ELSEWHERE = {
    16: "benchmarks are no part of an inventory",
    19: "names of tests are no part of an inventory",
}


@pytest.mark.parametrize("name", WARNED)
def test_an_oddity_warns(name: str) -> None:
    serve, hosts, more, code, text = WARNED[name]
    every = found(serve, hosts, **more)
    assert not [violation for violation in every if violation.severity == "fail"], every
    assert [v for v in every if v.code == code and text in v.reason and v.remedy and v.source], every


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_only_unusual_is_legal(name: str) -> None:
    serve, hosts, more = LEGAL[name]
    assert found(serve, hosts, **more) == ()


def test_all_twenty_are_accounted_for() -> None:
    numbers = {int(name.split()[0]) for name in (*WARNED, *LEGAL) if name[0].isdigit()}
    assert numbers | ELSEWHERE.keys() == set(range(1, 21))
