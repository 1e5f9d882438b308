"""Prefill and decode: groups, the sizes both sides are told, ports, roles' own arguments, the pool and the proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from provision.errors import LayoutError
from provision.serve.build import build_plan
from provision.serve.plan import LaunchPlan, Process
from tests.serve.clusters import DEVICES, options, settings, sites

P = {"role": "prefill", "tensor_parallel_size": 8, "data_parallel_size": 2}
D = {"role": "decode", "tensor_parallel_size": 4, "data_parallel_size": 4}


def plan_of(*hosts: dict[str, Any], hardware: str = "atlas-800-a3", **common: Any) -> LaunchPlan:
    """A plan of hosts with settings of their own; ``common`` are those of all."""
    own = [settings(hardware, **{"topology": "prefill-decode", **common, **host}) for host in hosts]
    placed = sites(hardware, len(hosts), devices=DEVICES[hardware])
    return build_plan(list(zip(placed, own, strict=True)))


def config(process: Process) -> dict[str, Any]:
    found = json.loads(options(process.argv)["--kv-transfer-config"][0])
    assert isinstance(found, dict)
    return found


def test_both_sides_are_told_the_real_sizes() -> None:
    plan = plan_of(P, D)
    sides = [config(server)["kv_connector_extra_config"] for server in plan.servers]
    assert sides[0] == sides[1]
    assert sides[0]["prefill"] == {"dp_size": 2, "tp_size": 8}
    assert sides[0]["decode"] == {"dp_size": 4, "tp_size": 4}
    assert [config(server)["kv_role"] for server in plan.servers] == ["kv_producer", "kv_consumer"]


def test_stages_of_prefill_are_told() -> None:
    staged = {"role": "prefill", "tensor_parallel_size": 8, "pipeline_parallel_size": 2}
    sides = config(plan_of(staged, D).servers[0])["kv_connector_extra_config"]
    assert sides["prefill"] == {"dp_size": 1, "tp_size": 8, "pp_size": 2}
    assert "pp_size" not in sides["decode"]


def test_hosts_of_a_group_work_together_and_groups_apart() -> None:
    four = {**D, "data_parallel_size": 8}
    plan = plan_of({**P, "group": "a"}, {**P, "group": "b"}, four, four)
    assert [(group.name, group.role, group.engines) for group in plan.groups] == [
        ("a", "prefill", 2),
        ("b", "prefill", 2),
        ("decode", "decode", 8),
    ]
    assert [process.name for process in plan.processes] == [
        "a-head",
        "b-head",
        "decode-head",
        "decode-worker1",
        "router",
    ]
    assert options(plan.process("decode-worker1").argv)["--data-parallel-address"] == ("10.0.0.3",)
    assert len({config(server)["engine_id"] for server in plan.processes if server.kind == "server"}) == 4
    assert plan.engines == 12
    assert plan.units[0] == ("a-head", "b-head", "decode-head", "decode-worker1")


@pytest.mark.parametrize(("hardware", "first"), [("atlas-800-a2", 28000), ("atlas-800-a3", 36000)])
def test_ports_are_clear_of_those_that_mooncake_takes(hardware: str, first: int) -> None:
    half = {"tensor_parallel_size": 4, "data_parallel_size": 2}
    plan = plan_of({**half, "role": "prefill"}, {**half, "role": "decode"}, hardware=hardware)
    head = plan.servers[0]
    assert config(head)["kv_port"] == str(first)
    assert {name: port for name, port in head.ports.items() if name.startswith("kv")} == {
        f"kv{n}": first + n for n in range(8)
    }


def test_ranks_of_a_group_listen_apart_though_they_share_a_first_port() -> None:
    plan = plan_of({**P, "kv_transfer": {"port": 30000}}, D, group_topology="external-dp")
    prefill = [server for server in plan.servers if server.role == "prefill"]
    ports = [[port for name, port in server.ports.items() if name.startswith("kv")] for server in prefill]
    assert ports == [list(range(30000, 30008)), list(range(30008, 30016))]
    assert {config(server)["kv_port"] for server in prefill} == {"30000"}


def test_ranks_over_nodes_listen_on_their_own_nodes() -> None:
    wide = {"role": "prefill", "tensor_parallel_size": 32, "group_topology": "tensor-parallel"}
    plan = plan_of(wide, wide, D)
    worker = plan.process("prefill-worker1")
    assert min(port for name, port in worker.ports.items() if name.startswith("kv")) == 36016


def test_roles_get_what_the_guide_gives_them() -> None:
    prefill, decode = (options(server.argv) for server in plan_of(P, D).servers)
    assert "--enforce-eager" in prefill
    assert "--compilation-config" not in prefill
    assert decode["--compilation-config"] == ('{"cudagraph_mode":"FULL_DECODE_ONLY"}',)
    assert decode["--additional-config"] == ('{"recompute_scheduler_enable":true}',)
    assert "--no-enable-prefix-caching" in decode
    assert "--enforce-eager" not in decode


def test_what_the_operator_says_of_a_role_stands() -> None:
    mine: dict[str, Any] = {"enforce_eager": False, "enable-prefix-caching": True, "additional-config": {"a": 1}}
    prefill, decode = (options(s.argv) for s in plan_of({**P, "engine_args": mine}, {**D, "engine_args": mine}).servers)
    assert "--enforce-eager" not in prefill
    assert "--compilation-config" not in decode
    assert decode["--additional-config"] == ('{"a":1}',)
    assert "--enable-prefix-caching" in decode


def test_a_config_of_the_operators_own_stands() -> None:
    own = {"kv_connector": "Mine", "kv_role": "kv_producer"}
    plan = plan_of({**P, "engine_args": {"kv-transfer-config": own}}, D)
    assert config(plan.servers[0]) == own


def test_fields_and_extra_lie_over_what_is_computed() -> None:
    transfer = {"fields": {"kv_port": "55880", "kv_buffer_size": 1}, "extra": {"use_ascend_direct": False, "x": [1]}}
    found = config(plan_of({**P, "kv_transfer": transfer}, {**D, "kv_transfer": transfer}).servers[0])
    assert (found["kv_port"], found["kv_buffer_size"]) == ("55880", 1)
    assert found["kv_connector_extra_config"]["use_ascend_direct"] is False
    assert found["kv_connector_extra_config"]["x"] == [1]
    assert found["kv_connector_extra_config"]["prefill"] == {"dp_size": 2, "tp_size": 8}


def test_as_given_adds_nothing() -> None:
    plan = plan_of(P, D, as_given=True)
    prefill = plan.servers[0]
    assert config(prefill) == {
        "kv_connector": "MooncakeConnectorV1",
        "kv_role": "kv_producer",
        "kv_port": "36000",
        "kv_connector_extra_config": {
            "prefill": {"dp_size": 2, "tp_size": 8},
            "decode": {"dp_size": 4, "tp_size": 4},
        },
    }
    assert "--enforce-eager" not in prefill.argv
    assert "LD_LIBRARY_PATH" not in prefill.env
    assert options(plan.entry.argv)["--host"] == ("10.0.0.1",), "as upstream's launcher"


def test_environment_is_the_hardwares() -> None:
    half = {"tensor_parallel_size": 4, "data_parallel_size": 2}
    a2 = plan_of({**half, "role": "prefill"}, {**half, "role": "decode"}, hardware="atlas-800-a2").servers[0].env
    a3 = plan_of(P, D).servers[0].env
    assert a2["HCCL_INTRA_ROCE_ENABLE"] == a3["ASCEND_A3_ENABLE"] == "1"
    assert "HCCL_INTRA_ROCE_ENABLE" not in a3
    assert a3["VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT"] == "480"
    assert a3["LD_LIBRARY_PATH"].endswith(":$LD_LIBRARY_PATH")
    assert plan_of(P, {**D, "env": {"ASCEND_A3_ENABLE": 0}}).servers[1].env["ASCEND_A3_ENABLE"] == "0"


def test_a_pool_has_a_master_and_every_server_knows_it() -> None:
    plan = plan_of(P, D, kv_pool={"master_port": 50090, "config": {"global_segment_size": "4GB"}})
    assert plan.waves[0].processes == ("pool",)
    assert plan.waves[0].started == "port:pool"
    assert plan.process("pool").ports == {"pool": 50090, "metrics": 50089}
    for server in plan.servers:
        (companion,) = server.files
        assert companion.name == "mooncake.json"
        assert json.loads(companion.text) == {
            "metadata_server": "P2PHANDSHAKE",
            "protocol": "ascend",
            "device_name": "",
            "global_segment_size": "4GB",
            "master_server_address": "10.0.0.1:50090",
        }
        assert server.env["MOONCAKE_CONFIG_PATH"] == "/qnext/mooncake.json"
        assert server.env["PYTHONHASHSEED"] == "0"
        both = config(server)
        assert both["kv_connector"] == "MultiConnector"
        transfer, pool = both["kv_connector_extra_config"]["connectors"]
        assert (transfer["kv_connector"], pool["kv_connector"]) == ("MooncakeConnectorV1", "AscendStoreConnector")
        assert both["engine_id"]
        assert "engine_id" not in transfer


def test_a_memcache_pool_has_files_of_its_own() -> None:
    given = {"meta": {"ock.mmc.log_level": "info", "ock.mmc.tls.enable": False}, "local": {"ock.mmc.local.dram": "1GB"}}
    plan = plan_of(P, D, kv_pool={"kind": "memcache", "config": given})
    (meta,) = plan.process("pool").files
    assert meta.name == "mmc-meta.conf"
    assert "ock.mmc.tls.enable = false\n" in meta.text
    assert "ock.mmc.meta_service_url = tcp://10.0.0.1:50088\n" in meta.text
    (local,) = plan.servers[0].files
    assert "ock.mmc.local_service.config_store_url = tcp://10.0.0.1:50089\n" in local.text
    assert plan.servers[0].env["MMC_LOCAL_CONFIG_PATH"] == "/qnext/mmc-local.conf"


def test_the_proxy_lists_apis_alone() -> None:
    four = {**D, "data_parallel_size": 8}
    given = options(plan_of(P, four, four, port=1999, server_port=7100).entry.argv)
    assert given["--port"] == ("1999",)
    assert (given["--prefiller-hosts"], given["--prefiller-ports"]) == (("10.0.0.1",), ("7100",))
    assert (given["--decoder-hosts"], given["--decoder-ports"]) == (("10.0.0.2",), ("7100",)), "the worker is headless"


def test_the_layerwise_proxy_listens_where_decode_calls_it() -> None:
    layerwise = {"kv_transfer": {"connector": "MooncakeLayerwiseConnector"}}
    plan = plan_of(P, D, **layerwise, router={"node": "node2", "args": {"max-retries": 5}})
    assert plan.entry.argv[1].endswith("load_balance_proxy_layerwise_server_example.py")
    assert options(plan.entry.argv)["--host"] == ("10.0.0.2",)
    assert options(plan.entry.argv)["--max-retries"] == ("5",)
    assert plan.entry.health == "/healthcheck"


def test_the_proxy_asks_with_the_clusters_key() -> None:
    entry = plan_of(P, D, api_key="sk-1").entry
    assert entry.keyed
    assert entry.argv[:2] == ("sh", "-c")
    assert "sk-1" not in " ".join(entry.argv)


def test_vllm_router_is_told_both_sides() -> None:
    argv = plan_of(P, D, router={"kind": "vllm-router"}).entry.argv
    assert argv[0] == "vllm-router"
    assert "--vllm-pd-disaggregation" in argv
    assert argv[-4:] == ("--prefill", "http://10.0.0.1:8100", "--decode", "http://10.0.0.2:8100")
    assert "--kv-connector" not in argv
    other = plan_of(P, D, router={"kind": "vllm-router"}, kv_transfer={"connector": "MooncakeConnector"})
    assert options(other.entry.argv)["--kv-connector"] == ("mooncake",)


def test_nixl_meets_at_the_nodes_own_address() -> None:
    sides = [{"role": "prefill"}, {"role": "decode", "data_parallel_size": 2}]
    nixl: dict[str, Any] = {"connector": "NixlConnector", "extra": {"num_threads": 0}}
    prefill, decode = plan_of(*sides, hardware="cpu", kv_transfer=nixl).servers
    assert config(prefill) == {
        "kv_connector": "NixlConnector",
        "kv_role": "kv_producer",
        "kv_buffer_device": "cpu",
        "kv_connector_extra_config": {"num_threads": 0},
        "engine_id": "prefill-head",
    }
    assert decode.env["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "10.0.0.2"
    assert decode.env["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "5600"
    assert {name: port for name, port in decode.ports.items() if name != "api"} == {"kv0": 5600, "kv1": 5601}


REFUSED = {
    "no role": ((P, {}), "node2 is neither prefill nor decode"),
    "one side": ((P, P), "no host has the role decode"),
    "one group on both sides": (({**P, "group": "a"}, {**D, "group": "a"}), "the group a is on both sides"),
    "unlike groups": (
        ({**P, "group": "a"}, {**P, "group": "b", "data_parallel_size": 1}, D),
        "prefill groups a and b have other sizes: TP 8, PP 1, DP 2 and TP 8, PP 1, DP 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused(case: str) -> None:
    hosts, reason = REFUSED[case]
    with pytest.raises(LayoutError) as refused:
        plan_of(*hosts)
    reasons = [refused.value.message, *(str(other) for other in refused.value.others)]
    assert any(reason in each for each in reasons), reasons


def test_a_router_for_servers_that_are_alike_is_refused() -> None:
    with pytest.raises(LayoutError, match="nginx cannot hand requests from prefill to decode"):
        plan_of(P, D, router={"kind": "nginx"})
