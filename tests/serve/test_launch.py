"""The launch of a cluster: declared and observed agree, addresses and devices are found, logs are read by a real sh."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConfigError, RemoteError, UsageError
from provision.facts.davinci import DavinciValue
from provision.facts.network import NetworkValue
from provision.inventory.model import Connection, Host, Inventory
from provision.results import Result
from provision.secrets import Secret
from provision.serve import launch
from provision.serve.render import secret_lines
from tests.checks.world import FakeCluster
from tests.checks.world import settings as npu_settings
from tests.modules.world import Node, cluster, settings
from tests.serve.clusters import pairs
from tests.serve.clusters import settings as serving


def inventory(made: Any, address: str = "10.0.0.{}") -> Inventory:
    hosts = [
        Host(n.name, n.index, ("all",), Connection(host=address.format(n.index + 1)), n.settings) for n in made.nodes
    ]
    return Inventory("cluster.yaml", tuple(hosts), {})


def texts(made: launch.Launch) -> dict[str, str]:
    return {script.filename: script.text for script in made.scripts}


def test_declared_and_observed_are_the_same_to_the_byte() -> None:
    made = cluster()

    assert texts(launch.declared(inventory(made))) == texts(launch.observed(made))


def test_a_part_in_sight_gives_the_same_scripts() -> None:
    made = cluster()
    part: Any = FakeCluster(made.nodes[:1])

    assert texts(launch.partly_observed(inventory(made), part)) == texts(launch.observed(made))


@pytest.mark.parametrize(("index", "head", "port"), [(0, "router", 8000), (1, "replica1", 8100)])
def test_a_part_of_replicas_keeps_its_names_ports_and_scripts(index: int, head: str, port: int) -> None:
    made = cluster(settings(topology="replicas"))
    whole = launch.observed(made)
    node = made.nodes[index]
    part: Any = FakeCluster([node], hosts=inventory(made).hosts)

    limited = launch.observed(part)

    assert list(limited.scripts) == whole.scripts_of(node.name)
    assert (limited.plan.head, limited.plan.endpoint) == (head, f"http://10.0.0.{index + 1}:{port}")
    assert [group.processes for group in limited.plan.groups] == [(f"replica{index}",)]
    assert {name for wave in limited.plan.waves for name in wave.processes} == {p.name for p in limited.plan.processes}


def test_a_name_is_no_address_among_the_ranks() -> None:
    with pytest.raises(ConfigError, match="atlas-1: the address of its ranks is not known") as caught:
        launch.declared(inventory(cluster(), "node{}.example"))

    assert "qnext.data_address" in caught.value.hint


def test_a_declared_data_address_counts_more_than_what_is_found() -> None:
    own = settings().model_copy(update={"data_address": "192.0.2.7", "data_interface": "bond0"})
    node = cluster(own).nodes[0]

    site = launch.observed_site(node)

    assert (site.address, site.interface) == ("192.0.2.7", "bond0")


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({}, "10.0.0.1"),
        ({"ssh_server_address": None}, "10.0.0.1"),
        ({"ssh_server_address": "203.0.113.9"}, "10.0.0.1"),
        ({"default_interface": "docker0"}, "10.0.0.1"),
        ({"ssh_server_address": "203.0.113.9", "default_interface": "docker0"}, "172.17.0.1"),
    ],
)
def test_where_the_address_is_found(changes: dict[str, Any], address: str) -> None:
    node = cluster().nodes[0]
    node.facts["network"] = replace(node.facts["network"], **changes)

    assert launch.observed_site(node).address == address


def test_no_address_at_all() -> None:
    node = cluster().nodes[0]
    node.facts["network"] = NetworkValue()

    with pytest.raises(RemoteError, match="no address for the ranks") as caught:
        launch.observed_site(node)

    assert caught.value.node == "atlas-1"
    assert "data_address" in caught.value.hint


@pytest.mark.parametrize(("declared", "expected"), [(None, (0, 1, 2)), ((4, 5), (4, 5))])
def test_devices_are_those_declared_or_found(declared: tuple[int, ...] | None, expected: tuple[int, ...]) -> None:
    node = cluster(npu_settings(devices=declared)).nodes[0]
    node.facts["davinci"] = DavinciValue((0, 1, 2), True, True, True)

    assert launch.observed_site(node).devices == expected


def test_a_launch_is_made_once_and_anew_when_anything_differs() -> None:
    made = cluster()
    first = launch.observed(made)

    assert launch.observed(made).scripts is first.scripts

    assert texts(launch.observed(cluster(settings(port=8001)))) != texts(first)
    assert texts(launch.observed(cluster(nodes=1))) != texts(first)
    assert texts(launch.observed(cluster())) == texts(first)


def test_a_key_is_the_secret_of_the_launch() -> None:
    made = cluster(settings(api_key=Secret.of("sk-of-the-test")))

    planned = launch.observed(made)

    assert planned.token == "sk-of-the-test"
    assert planned.secrets == {"VLLM_API_KEY": "sk-of-the-test"}
    assert "sk-of" not in "".join(texts(planned).values())
    assert launch.observed(cluster()).token == ""


@pytest.mark.parametrize(
    ("serve", "ports"),
    [
        ({"topology": "single", "data_parallel_size": 1, "port": 9000}, {"API": 9000}),
        ({"topology": "tensor-parallel", "data_parallel_size": 1}, {"API": 8000, "rendezvous": 29501}),
        ({"data_parallel_rpc_port": 5}, {"API": 8000, "data-parallel handshake": 5}),
    ],
)
def test_ports_of_a_topology(serve: dict[str, Any], ports: dict[str, int]) -> None:
    assert launch.ports_on(cluster(settings(**serve)).nodes[0]) == ports


def test_paths_on_a_node() -> None:
    assert launch.script_path(settings(), "head") == "/var/lib/qnext/qnext/launch/head.sh"


class Shell(Node):
    """Reads by a real sh, with a docker of the test's."""

    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        path = f"{self.texts}:/usr/bin:/bin"
        done = subprocess.run(
            ["sh", "-s"], input=script, capture_output=True, text=True, env={"PATH": path}, check=False
        )
        return Result(label, done.returncode, done.stdout, done.stderr)


def test_logs_of_every_process(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        "#!/bin/sh\ncase $1 in ps) printf '%s\\n' 'aaa head' 'bbb worker1';; "
        "logs) [ $4 = aaa ] && { echo out; echo err >&2; } || printf 'no end';; esac\n"
    )
    docker.chmod(0o755)
    node = cluster().nodes[0]

    logs = launch.read_logs(Shell(node.index, node.settings, node.facts, texts=str(tmp_path)))

    assert {name: text.strip() for name, text in logs.items()} == {"head": "out\nerr", "worker1": "no end"}


@pytest.mark.parametrize("key", ["", "one\ntwo", "clé", " sk-1", "sk-1\n\n"])
def test_an_api_key_that_no_header_can_carry_is_refused_unseen(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNEXT_KEY", key)

    with pytest.raises(UsageError, match=r"qnext.serve.api_key") as caught:
        launch.api_key(settings(api_key=Secret.of({"env": "QNEXT_KEY"})))

    assert "env: QNEXT_KEY" in caught.value.hint
    assert not key or key not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("key", ["k", "se cr$et'\"key"])
def test_an_api_key(key: str) -> None:
    assert launch.api_key(settings(api_key=Secret.of(key))) == key


def test_secret_variables_stand_in_no_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_A_HUB", "hf_0123456789")
    given = pairs(serving(secret_env={"HF_TOKEN": {"env": "TOKEN_OF_A_HUB"}}))
    made = launch.declared(
        Inventory("c", tuple(Host("n", 0, ("all",), Connection(host="10.0.0.1"), each) for _, each in given), {})
    )
    (script,) = made.scripts
    assert "hf_0123456789" not in script.text
    assert f"--env-file {script.secrets_path}" in script.text
    assert "with the line HF_TOKEN=…)" in script.text
    assert made.secrets == {"HF_TOKEN": "hf_0123456789"}


@pytest.mark.parametrize("value", ["two\nlines", " blank"])
def test_a_secret_variable_is_one_line(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_A_HUB", value)
    given = serving(secret_env={"HF_TOKEN": {"env": "TOKEN_OF_A_HUB"}})
    with pytest.raises(UsageError, match=r"qnext.serve.secret_env.HF_TOKEN can't stand on a line"):
        launch.secrets_of(given)


@pytest.mark.parametrize(
    ("group_topology", "taken"),
    [("tensor-parallel", "rendezvous"), ("data-parallel", "data-parallel handshake"), ("single", None)],
)
def test_the_ports_of_a_group_are_those_of_its_topology(group_topology: str, taken: str | None) -> None:
    given = settings(topology="prefill-decode", group_topology=group_topology, role="prefill")
    meeting = {"rendezvous", "data-parallel handshake"}

    assert meeting & launch.ports_on(cluster(given).nodes[0]).keys() == ({taken} if taken else set())


def test_a_router_gets_the_key_and_none_of_its_servers_other_secrets() -> None:
    secrets = {"HF_TOKEN": Secret.of("hf-of-the-test")}
    own = settings(topology="replicas", api_key=Secret.of("sk-of-the-test"), secret_env=secrets)
    made = launch.observed(cluster(own))

    assert made.secrets_for("replica0") == {"HF_TOKEN": "hf-of-the-test", "VLLM_API_KEY": "sk-of-the-test"}
    assert made.secrets_for("router") == {"VLLM_API_KEY": "sk-of-the-test"}
    told = {p.name: secret_lines(p, own) for p in made.plan.processes}
    assert (told["replica0"], told["router"]) == ("the lines HF_TOKEN=…, VLLM_API_KEY=…", "the line VLLM_API_KEY=…")
