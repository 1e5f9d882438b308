"""Which variables a server gets, and who wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.inventory.model import Model, Settings
from provision.secrets import Secret
from provision.serve.environment import computed_names, environment
from provision.serve.layout import Layout, layout_of
from tests.serve.clusters import QWEN3_NEXT, pairs, settings


def of(given: Settings, count: int = 1, *, index: int = 0, interface: str = "") -> dict[str, str]:
    return environment(layout_of(pairs(given, count, interface=interface)), index)[0]


def test_addresses_and_interface_are_the_nodes_own() -> None:
    given = settings(topology="tensor-parallel", tensor_parallel_size=2)
    env = of(given, 2, index=1, interface="enp1s0")
    assert {name: env[name] for name in ("HCCL_IF_IP", "VLLM_HOST_IP")} == dict.fromkeys(
        ("HCCL_IF_IP", "VLLM_HOST_IP"), "10.0.0.2"
    )
    assert env["HCCL_SOCKET_IFNAME"] == "=enp1s0"
    assert env["GLOO_SOCKET_IFNAME"] == env["TP_SOCKET_IFNAME"] == "enp1s0"


def test_an_unknown_interface_is_left_to_the_node() -> None:
    env, interfaces = environment(layout_of(pairs(settings())), 0)
    assert interfaces == {"GLOO_SOCKET_IFNAME": "", "HCCL_SOCKET_IFNAME": "=", "TP_SOCKET_IFNAME": ""}
    assert not interfaces.keys() & env.keys()


def test_without_an_address_there_is_nothing_to_say() -> None:
    given = settings("cpu")
    site = replace(pairs(given)[0][0], address="")
    env, interfaces = environment(layout_of([(site, given)]), 0)
    assert interfaces == {}
    assert "VLLM_HOST_IP" not in env


def test_the_operator_overrides_hardware_and_profile() -> None:
    given = settings(profile=QWEN3_NEXT, tensor_parallel_size=4, env={"HCCL_BUFFSIZE": 512, "OMP_PROC_BIND": False})
    env = of(given)
    assert (env["HCCL_BUFFSIZE"], env["OMP_PROC_BIND"], env["OMP_NUM_THREADS"]) == ("512", "False", "10")


def test_what_nodes_need_among_themselves_comes_with_several_nodes() -> None:
    given = settings(profile=QWEN3_NEXT, topology="data-parallel", tensor_parallel_size=4, data_parallel_size=8)
    both, one = of(given, 2), of(given, 1)
    assert (both["HCCL_CONNECT_TIMEOUT"], both["HCCL_OP_EXPANSION_MODE"]) == ("1200", "AIV")
    assert not {"HCCL_CONNECT_TIMEOUT", "HCCL_OP_EXPANSION_MODE"} & one.keys()


@pytest.mark.parametrize(("seconds", "expected"), [(3000, "3000"), (60, "600"), (1800.5, "1801")])
def test_vllm_waits_for_its_engines_as_long_as_we_do(seconds: float, expected: str) -> None:
    assert of(settings("cpu", ready_timeout=seconds))["VLLM_ENGINE_READY_TIMEOUT_S"] == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"path": "Qwen/Qwen3-8B", "hub": "modelscope"}, "True"),
        ({"path": "Qwen/Qwen3-8B"}, None),
        ({"path": "/data/weights/Qwen3-8B", "hub": "modelscope"}, None),
    ],
)
def test_vllm_is_told_which_hub_has_the_weights(model: dict[str, str], expected: str | None) -> None:
    own = settings("cpu").model_copy(update={"model": Model.model_validate(model)})
    assert of(own).get("VLLM_USE_MODELSCOPE") == expected


def test_proxies_are_emptied() -> None:
    env = of(settings("cpu"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        assert env[name] == env[name.upper()] == ""
    assert env["NO_PROXY"] == env["no_proxy"] == "*"


def test_an_operators_proxy_is_bypassed_among_the_ranks() -> None:
    given = settings("cpu", topology="tensor-parallel", tensor_parallel_size=2, env={"HTTPS_PROXY": "http://p:3128"})
    env = of(given, 2)
    assert env["HTTPS_PROXY"] == "http://p:3128"
    assert env["NO_PROXY"] == env["no_proxy"] == "localhost,127.0.0.1,10.0.0.1,10.0.0.2"


def test_a_secret_variable_is_left_to_its_file() -> None:
    secret = {name: Secret.of("http://me:word@p:3128") for name in ("https_proxy", "HCCL_BUFFSIZE")}
    env = of(settings(profile=QWEN3_NEXT, secret_env=secret))
    assert not {"https_proxy", "HCCL_BUFFSIZE"} & env.keys()
    assert env["HTTPS_PROXY"] == ""
    assert env["no_proxy"] == "localhost,127.0.0.1,10.0.0.1"


def test_what_is_for_dockers_runtime_is_not_the_servers() -> None:
    assert "ASCEND_VISIBLE_DEVICES" not in of(settings())


def test_a_profile_of_other_hardware_sets_nothing() -> None:
    assert not {"HCCL_BUFFSIZE", "OMP_NUM_THREADS"} & of(settings("cpu", profile=QWEN3_NEXT)).keys()


def test_computed_names_are_those_that_are_set() -> None:
    layout: Layout = layout_of(pairs(settings()))
    env, interfaces = environment(layout, 0)
    assert computed_names(layout) <= {*env, *interfaces, "ASCEND_RT_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES"}
    assert "HCCL_IF_IP" in computed_names(layout)
    assert "ASCEND_RT_VISIBLE_DEVICES" not in computed_names(layout_of(pairs(settings("cpu"))))
