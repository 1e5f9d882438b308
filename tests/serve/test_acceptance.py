"""Upstream's own multi-node and Qwen3-Next configurations: for the same cluster, the same command and environment.

The scripts are read in place. Left aside is only what a launcher adds or computes: addresses and interfaces, the port
of a headless process (vLLM ignores it), a start rank of 0 on the head (the same as none), sizes of 1, the served name.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision import yamlio
from provision.serve.argv import normal
from provision.serve.build import build_plan
from provision.serve.plan import LaunchPlan, Process
from tests.serve.clusters import options, pairs, settings

SHARED = Path(__file__).resolve().parents[3] / "shared" / "acceptance" / "vllm-ascend"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="upstream's configurations are not beside this repository")

INTERNAL_DP = {
    "DeepSeek-V3.1-BF16": "atlas-800-a3",
    "DeepSeek-V3_2-W8A8-A3-dual-nodes": "atlas-800-a3",
    "GLM-5.1-W8A8C8-A3_128k_90_50": "atlas-800-a3",
    "GLM5_1-W8A8-A2-dual-nodes": "atlas-800-a2",
    "Kimi-K2_5-W4A8-A2-dual-nodes": "atlas-800-a2",
    "Qwen3-235B-A22B": "atlas-800-a3",
}
"""Cases of plain internal data parallel; the others are disaggregated, which is another topology."""

PER_NODE = {
    *("HCCL_IF_IP", "HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "VLLM_HOST_IP"),
}
LAUNCHER = {
    *("ASCEND_VISIBLE_DEVICES", "HCCL_CONNECT_TIMEOUT", "VLLM_ENGINE_READY_TIMEOUT_S"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
}
"""Variables that this launcher sets where the operator doesn't."""

COMPUTED = {
    *("data-parallel-size", "data-parallel-size-local", "data-parallel-start-rank", "data-parallel-address"),
    *("data-parallel-rpc-port", "tensor-parallel-size", "host", "port", "headless"),
}
IGNORED = {"served-model-name"}


@dataclass(frozen=True)
class Upstream:
    """A node's script: environment, positional model, options with parsed values."""

    env: dict[str, str]
    model: str
    options: dict[str, Any]


def parse_script(text: str) -> Upstream:
    head, _, command = text.partition("vllm serve")
    env = dict(line.removeprefix("export ").split("=", 1) for line in head.splitlines() if line.startswith("export "))
    words = shlex.split(re.sub(r"\\\n", " ", command))
    words = [re.sub(r"\$(\w+)", lambda found: env.get(found[1], found[0]), word) for word in words]
    return Upstream({name: "".join(shlex.split(value)) for name, value in env.items()}, words[0], parse(words[1:]))


def parse(words: list[str]) -> dict[str, Any]:
    return {normal(name): [value(word) for word in values] for name, values in options(words).items() if name}


def value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def plain(given: dict[str, Any]) -> dict[str, Any]:
    """Options without what says nothing."""
    kept = {name: values for name, values in given.items() if name not in IGNORED}
    if "headless" in kept:
        kept = {name: values for name, values in kept.items() if name not in ("host", "port")}
    elif kept.get("data-parallel-start-rank") == [0]:
        del kept["data-parallel-start-rank"]
    if kept.get("data-parallel-size") == [1]:
        del kept["data-parallel-size"]
    return kept


def engine_args(given: Upstream) -> dict[str, Any]:
    """What an operator would carry over into serve.engine_args."""
    rest = {name: values for name, values in given.options.items() if name not in COMPUTED}
    return {name: values[0] if values else True for name, values in rest.items()}


def plan_for(nodes: list[Upstream], hardware: str, topology: str) -> LaunchPlan:
    head = nodes[0].options
    made = []
    for index, node in enumerate(nodes):
        given = settings(
            hardware,
            path="/" + nodes[0].model,
            topology=topology,
            port=head["port"][0],
            tensor_parallel_size=head["tensor-parallel-size"][0],
            data_parallel_size=head.get("data-parallel-size", [1])[0],
            data_parallel_rpc_port=head.get("data-parallel-rpc-port", [13389])[0],
            engine_args=engine_args(node),
            env=node.env,
        )
        made.append((pairs(given, len(nodes))[index][0], given))
    return build_plan(made)


def assert_same(process: Process, upstream: Upstream, head_address: str) -> None:
    ours = plain(parse(list(process.argv[3:])))
    theirs = plain(upstream.options)
    if "data-parallel-address" in theirs:
        theirs["data-parallel-address"] = [head_address]
    assert ours == theirs
    assert process.argv[2] == "/" + upstream.model
    added = LAUNCHER - upstream.env.keys()
    assert {name: text for name, text in process.env.items() if name not in PER_NODE | added} == upstream.env
    assert {*process.env, *process.interface_env} >= PER_NODE


@pytest.mark.parametrize("name", INTERNAL_DP)
def test_internal_data_parallel(name: str) -> None:
    scripts = sorted((SHARED / "internal_dp" / name).glob("node*.sh"))
    nodes = [parse_script(path.read_text(encoding="utf-8")) for path in scripts]
    plan = plan_for(nodes, INTERNAL_DP[name], "data-parallel")
    assert [process.name for process in plan.processes] == ["head", "worker1"]
    for process, upstream in zip(plan.processes, nodes, strict=True):
        assert_same(process, upstream, "10.0.0.1")


def single_node_cases() -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for path in sorted((SHARED / "single_node").glob("*.yaml")):
        hardware = "atlas-800-a2" if path.stem.endswith("-A2") else "atlas-800-a3"
        for case in yamlio.load(path).data["test_cases"]:
            profile = "qwen3-next-80b-a3b-instruct" + ("-w8a8" if "W8A8" in path.stem else "")
            found.append((hardware, profile, case))
    return found


SINGLE = single_node_cases() if SHARED.is_dir() else []


def upstream_of(case: dict[str, Any]) -> Upstream:
    words = [word.replace("$SERVER_PORT", "8000") for word in (*case["server_cmd"], *case.get("server_cmd_extra", ()))]
    return Upstream({**case["envs"], "SERVER_PORT": "8000"}, case["model"], parse(words))


@pytest.mark.parametrize(("hardware", "profile", "case"), SINGLE, ids=[case["name"] for *_, case in SINGLE])
def test_qwen3_next_without_profile(hardware: str, profile: str, case: dict[str, Any]) -> None:
    upstream = upstream_of(case)
    process = plan_for([upstream], hardware, "single").processes[0]
    upstream.options["host"] = ["0.0.0.0"]
    assert_same(process, upstream, "")


@pytest.mark.parametrize(("hardware", "profile", "case"), SINGLE, ids=[case["name"] for *_, case in SINGLE])
def test_qwen3_next_with_its_profile_needs_only_what_differs(hardware: str, profile: str, case: dict[str, Any]) -> None:
    upstream = upstream_of(case)
    wanted = engine_args(upstream)
    differing = {"async-scheduling": True}
    differing |= {name: wanted[name] for name in ("max-model-len", "max-num-batched-tokens") if name in wanted}
    given = settings(
        hardware, profile=profile, path="/" + upstream.model, tensor_parallel_size=4, engine_args=differing,
        env={"SERVER_PORT": 8000},
    )  # fmt: skip
    upstream.options["host"] = ["0.0.0.0"]
    assert_same(build_plan(pairs(given)).processes[0], upstream, "")
