"""Every way to serve, on real nodes: up, tokens through the entry point from each server, down without a trace.

Tensor parallel over nodes and data parallel are in test_main_job.py. Each `up` here takes most of a minute on two
cores, so each layout has one, and what goes wrong in it is tried on the same servers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .cli import Program
from .dress import dress_as_a3
from .nodes import Cluster, Node

IMAGE = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
DENSE: dict[str, object] = {"path": "/data/weights/Qwen3-Tiny", "served_name": "qwen3-tiny"}
PORTS = (8000, 8100, 8101, 6379, 13389, 5600)
PROMPT = "Give me a short introduction to large language models and mixture-of-experts routing. "


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "state")


@pytest.fixture
def ready(cluster: Cluster) -> Cluster:
    """Nodes that hold the image."""
    cluster.pull(IMAGE)
    return cluster


# ---- asking


def completion(node: Node, model: str, prompt: str = PROMPT, port: int = 8000) -> str:
    """An answer's text through an API of `node`, asked on the node as any client in its network would."""
    body = json.dumps({"model": model, "prompt": prompt, "max_tokens": 4})
    headers = ["-H", "content-type: application/json", "-d", body]
    url = f"http://{node.address}:{port}/v1/completions"
    answer = node.exec(["curl", "-sS", "--fail-with-body", "--noproxy", "*", "-m", "110", *headers, url], check=True)
    [choice] = json.loads(answer.stdout)["choices"]
    return str(choice["text"])


def counted(node: Node, port: int, metric: str) -> dict[str, float]:
    """A counter of a server by its labels, as it tells them."""
    url = f"http://{node.address}:{port}/metrics"
    text = node.exec(["curl", "-sS", "--fail", "--noproxy", "*", url], check=True).stdout
    return {labels: float(value) for labels, value in re.findall(rf"(?m)^{re.escape(metric)}\{{(.*)\}} (\S+)$", text)}


def generated(node: Node, port: int) -> dict[int, float]:
    """Tokens generated so far, by the engine of that server."""
    counts = counted(node, port, "vllm:generation_tokens_total")
    return {int(found[1]): value for labels, value in counts.items() if (found := re.search(r'engine="(\d+)"', labels))}


def status(program: Program, inventory: Path) -> dict[str, Any]:
    answer = program("status", "-i", inventory, "--json")
    return {"exit": answer.exit, **answer.json()}


def states(found: dict[str, Any]) -> dict[str, str]:
    return {process["process"]: process["state"] for process in found["processes"]}


def down(program: Program, inventory: Path, cluster: Cluster) -> None:
    """Take it down; nothing of it is left."""
    answer = program("down", "-i", inventory, "--yes")
    assert answer.exit == 0, answer.text
    for node in cluster.nodes:
        assert node.docker("ps", "-aq") == ""
        assert not node.exists("/var/lib/qnext")
        assert not set(PORTS) & node.listening()
        left = [title for title in node.processes().values() if re.search(r"vllm|router|ray", title, re.IGNORECASE)]
        assert not left


# ---- the layouts


def test_external_data_parallel_ranks_step_together(ready: Cluster, program: Program, tmp_path: Path) -> None:
    """A mixture of experts, a server a rank: both generate, behind one router; where one dies, none serves."""
    serve = {"topology": "external-dp", "data_parallel_size": 2, "env": {"REAL_TIER_CPU_COLLECTIVES": "1"}}
    inventory = ready.write_inventory(tmp_path, serve=serve)
    head, worker = ready.nodes

    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    assert f"http://{head.address}:8000" in up.text
    before = [generated(node, 8100) for node in ready.nodes]
    assert [set(counts) for counts in before] == [{0}, {1}], "each server tells of its own rank only"
    for _ in range(2):
        assert completion(head, "qwen3-next-tiny")
    after = [generated(node, 8100) for node in ready.nodes]
    assert after[0][0] > before[0][0]
    assert after[1][1] > before[1][1]

    worker.docker("kill", container(worker))
    found = status(program, inventory)
    assert found["up"] is False
    assert states(found)["rank1"] == "exited"
    down(program, inventory, ready)


def test_a_dead_replica_takes_no_request_with_it(ready: Cluster, program: Program, tmp_path: Path) -> None:
    """Independent servers behind vllm-router: both serve; one is killed, and no client notices."""
    inventory = ready.write_inventory(tmp_path, model=DENSE, serve={"topology": "replicas"})
    head, other = ready.nodes

    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    assert "qnext: the router is vllm-router" in head.docker("logs", f"qnext-real-{ready.prefix}-router")
    before = [generated(node, 8100)[0] for node in ready.nodes]
    for _ in range(2):
        assert completion(head, "qwen3-tiny")
    after = [generated(node, 8100)[0] for node in ready.nodes]
    assert all(more > less for more, less in zip(after, before, strict=True)), "round robin reaches both"

    other.docker("kill", container(other))
    for _ in range(8):
        assert completion(head, "qwen3-tiny")
    found = status(program, inventory)
    assert (found["exit"], found["degraded"]) == (1, ["replica1"])
    assert states(found) == {"replica0": "running", "replica1": "exited", "router": "running"}

    again = program("up", "-i", inventory)
    assert again.exit == 0, again.text
    assert status(program, inventory)["up"] is True
    down(program, inventory, ready)


def test_ray_joins_counts_npus_and_the_refusal_is_told(ready: Cluster, program: Program, tmp_path: Path) -> None:
    """As far as Ray goes on the CPU build: a real cluster, its NPU gate, then vLLM's refusal as the first cause."""
    for node in ready.nodes:
        dress_as_a3(node)
    inventory = ready.write_inventory(
        tmp_path,
        hardware="atlas-800-a3",
        model=DENSE,
        serve={"topology": "ray", "tensor_parallel_size": 4},
        checks={"N13": "warn", "N14": "warn"},
    )

    up = program("up", "-i", inventory)

    assert up.exit == 1, up.text
    assert "current platform cpu does not support ray" in up.text
    assert "first cause" in up.text
    kept = "".join(path.read_text() for path in (program.last_run() / "logs").rglob("*.log"))
    assert "qnext: Ray has 4 of 4 NPU and all 2 nodes" in kept
    down(program, inventory, ready)


def test_prefill_hands_its_cache_to_decode(ready: Cluster, program: Program, tmp_path: Path) -> None:
    """The KV cache goes from one node to the other over NIXL: decode reads prompts that it never computed."""
    roles = zip(ready.nodes, ("prefill", "decode"), strict=True)
    # The handshake has five seconds, which a busy machine overruns: then a prompt is computed again, not failed.
    fields = {"kv_load_failure_policy": "recompute"}
    # By default five threads a server poll without a pause, and two cores have no time left for answers.
    transfer = {"connector": "NixlConnector", "fields": fields, "extra": {"num_threads": 0}}
    inventory = ready.write_inventory(
        tmp_path,
        model=DENSE,
        serve={
            "topology": "prefill-decode",
            "kv_transfer": transfer,
            "env": {"UCX_TLS": "tcp,self", "UCX_NET_DEVICES": "eth0", "REAL_TIER_PATIENT_NIXL": "1"},
        },
        host_vars={node.name: {"qnext": {"serve": {"role": role}}} for node, role in roles},
    )
    prefill, decode = ready.nodes

    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    before = transferred(decode)
    for number in range(2):
        assert completion(prefill, "qwen3-tiny", f"{number}: {PROMPT * 4}")
    assert transferred(decode) > before
    assert transferred(prefill) == 0
    down(program, inventory, ready)


def transferred(node: Node) -> float:
    """Tokens of prompts whose caches a server was handed."""
    counts = counted(node, 8100, "vllm:prompt_tokens_by_source_total")
    return sum(value for labels, value in counts.items() if 'source="external_kv_transfer"' in labels)


def container(node: Node) -> str:
    """The name of the node's one server that is not the router."""
    [name] = [name for name in node.docker("ps", "--format", "{{.Names}}").split() if not name.endswith("-router")]
    return name
