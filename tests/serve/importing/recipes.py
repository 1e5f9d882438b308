"""Small recipes of both multi-node schemas, in the style of upstream's, for the tests to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from provision.errors import ConfigError
from provision.inventory.load import load
from provision.inventory.model import Inventory
from provision.serve.importing import script, vllm_ascend
from provision.serve.importing.inventory import Target, inventory_of
from provision.serve.importing.recipe import Notes, Recipe

INTERNAL = """\
test_name: "test two nodes"
model: "Qwen/Some-Model"
num_nodes: 2
npu_per_node: 16
env_common: &env_common
  VLLM_USE_MODELSCOPE: true
  HCCL_BUFFSIZE: 1024
  SERVER_PORT: 8080
  OMP_PROC_BIND: false

deployment:
  -
    envs:
      <<: *env_common
    server_cmd: >
      vllm serve "Qwen/Some-Model"
      --host 0.0.0.0
      --port $SERVER_PORT
      --data-parallel-size 4
      --data-parallel-size-local 2
      --data-parallel-address $LOCAL_IP
      --data-parallel-rpc-port 13389
      --tensor-parallel-size 8
      --enable-expert-parallel
      --max-model-len 8192
      --additional_config '{"a":1, "b": {"c": true}}'
      --gpu-memory-utilization 0.9
  -
    envs:
      <<: *env_common
    server_cmd: >
      vllm serve "Qwen/Some-Model"
      --headless
      --data-parallel-size 4
      --data-parallel-size-local 2
      --data-parallel-start-rank 2
      --data-parallel-address $MASTER_IP
      --data-parallel-rpc-port 13389
      --tensor-parallel-size 8
      --enable-expert-parallel
      --max-model-len 8192
      --additional_config '{"a":1, "b": {"c": true}}'
      --gpu-memory-utilization 0.9
benchmarks:
"""

EXTERNAL = """\
test_name: "some-PD"
model: "Org/Some-Model"
num_nodes: 2
npu_per_node: 16
routing:
  type: "disaggregated_prefill"
  groups:
    prefiller: [0]
    decoder: [1]
config:
  - node_index: 0
    port_start: 7100
    dp_rpc_port: 12321
    dp_size: 2
    dp_size_local: 2
    dp_rank_start: 0
    tp_size: 8
    dp_address: "${NODE_0_IP}"
  - node_index: 1
    port_start: 7100
    dp_rpc_port: 12321
    dp_size: 4
    dp_size_local: 4
    dp_rank_start: 0
    tp_size: 4
    dp_address: "${NODE_1_IP}"
templates:
  - node_index: 0
    envs: &envs
      SERVER_PORT: "${PORT}"
      ASCEND_RT_VISIBLE_DEVICES: "${VISIBLE_DEVICES}"
    server_cmd_template: [--port, $SERVER_PORT, --data-parallel-size, "${DP_SIZE}", --data-parallel-rank, "${DP_RANK}",
      --data-parallel-address, "${DP_ADDRESS}", --data-parallel-rpc-port, "${DP_RPC_PORT}", --tensor-parallel-size,
      "${TP_SIZE}", --kv-transfer-config, '{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_producer", "kv_port":
      "30000", "kv_connector_extra_config": {"prefill": {"dp_size": 2, "tp_size": 8}, "decode": {"dp_size": 4,
      "tp_size": 4}}}']
  - node_index: 1
    envs: *envs
    server_cmd_template: [--port, $SERVER_PORT, --data-parallel-size, "${DP_SIZE}", --data-parallel-rank, "${DP_RANK}",
      --data-parallel-address, "${DP_ADDRESS}", --data-parallel-rpc-port, "${DP_RPC_PORT}", --tensor-parallel-size,
      "${TP_SIZE}", --kv-transfer-config, '{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_consumer", "kv_port":
      "30100", "kv_connector_extra_config": {"prefill": {"dp_size": 2, "tp_size": 8}, "decode": {"dp_size": 4,
      "tp_size": 4}}}']
benchmarks:
"""

HEAD = """\
#!/bin/sh
nic_name="eth1"
local_ip="10.0.0.1"
node0_ip="10.0.0.1"
export HCCL_IF_IP=$local_ip
export GLOO_SOCKET_IFNAME=$nic_name
export HCCL_BUFFSIZE=200

vllm serve /weights/Some-Model \\
  --host 0.0.0.0 \\
  --port 8004 \\
  --data-parallel-size 4 \\
  --data-parallel-size-local 2 \\
  --data-parallel-address $node0_ip \\
  --data-parallel-rpc-port 13389 \\
  --tensor-parallel-size 4
"""

WORKER = HEAD.replace('local_ip="10.0.0.1"', 'local_ip="10.0.0.2"').replace(
    "--host 0.0.0.0 \\\n  --port 8004", "--headless \\\n  --data-parallel-start-rank 2"
)


def upstream(text: str, notes: Notes | None = None, *, case: str | None = None) -> Recipe:
    return vllm_ascend.read(text, "recipe.yaml", notes or Notes(), case=case)


def pasted(*texts: str, notes: Notes | None = None, files: dict[str, str] | None = None) -> Recipe:
    sources = [script.Source(f"node{index}.sh", text) for index, text in enumerate(texts)]
    return script.read(sources, notes or Notes(), read_file=(files or {}).get)


def composed(recipe: Recipe, notes: Notes | None = None, **target: object) -> str:
    return inventory_of(recipe, Target("recipe.yaml", **target), notes or Notes())


def loaded(text: str, folder: Path) -> Inventory:
    path = folder / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def refusal(call: Callable[[], object]) -> ConfigError | None:
    """The error that a call ends with, if any; any other kind of error is a failure."""
    try:
        call()
    except ConfigError as error:
        return error
    return None
