"""Bad input: one clear error with the place and the remedy, the right exit status, and nodes as they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Answer, Program

pytestmark = pytest.mark.rehearsal


@dataclass(frozen=True)
class Case:
    """``make`` makes the inventory, and the fault where it is the node that's wrong. ``says``: parts of the error."""

    name: str
    make: Callable[[Practice], Path]
    exit: int
    says: tuple[str, ...]
    words: tuple[str, ...] = ()
    errors: int = 1

    def __str__(self) -> str:
        return self.name


def edited(old: str, new: str) -> Callable[[Practice], Path]:
    """The rehearsal's inventory with one piece of text replaced."""

    def make(nodes: Practice) -> Path:
        text = nodes.inventory.read_text()
        assert text.count(old) == 1, f"{old!r} is not once in the inventory"
        return nodes.write(text.replace(old, new))

    return make


def written(text: str) -> Callable[[Practice], Path]:
    return lambda nodes: nodes.write(text)


def qnext(**changes: object) -> Callable[[Practice], Path]:
    return lambda nodes: nodes.write_inventory(**changes)


def as_it_is(nodes: Practice) -> Path:
    return nodes.inventory


OFFLINE = (
    Case("malformed YAML", written("all:\n  hosts: [node1\n  vars: {}\n"), 2, ("cluster.yaml:3:", "remedy: ")),
    Case("a tab", written("all:\n\thosts:\n"), 2, ("cluster.yaml:2:1", "remedy: ")),
    Case("nothing in it", written(""), 2, ("cluster.yaml:1:1", "remedy: ")),
    Case(
        "unknown key",
        edited("topology:", "topologie:"),
        2,
        ("cluster.yaml:18:9", "topologie", "did you mean 'topology'"),
    ),
    Case(
        "unknown key in all", edited("  vars:\n", "  var:\n"), 2, ("cluster.yaml:3:3", "did you mean 'vars'"), errors=2
    ),
    Case(
        "duplicate key",
        edited("        port: 8000", "        port: 8000\n        port: 8001"),
        2,
        ("cluster.yaml:22:9", "port"),
    ),
    Case("wrong type", edited("port: 8000", "port: eight"), 2, ("cluster.yaml:21:15", "port", "remedy: ")),
    Case(
        "YAML 1.1's yes",
        edited("port: 8000", "port: 8000\n        expert_parallel: yes"),
        2,
        ("cluster.yaml:22:26", "remedy: "),
    ),
    Case("no hosts", written("all:\n  vars: {}\n"), 2, ("cluster.yaml", "no host", "remedy: ")),
    Case("no cluster", qnext(cluster=None), 2, ("cluster.yaml:", "cluster", "remedy: ")),
    Case(
        "TP 16",
        qnext(hardware="atlas-800-a3", serve={"tensor_parallel_size": 16, "data_parallel_size": 2}),
        2,
        ("S", "16", "remedy: "),
        errors=0,
    ),
    Case(
        "TP x local DP over the devices",
        qnext(hardware="atlas-800-a3", serve={"tensor_parallel_size": 8, "data_parallel_size": 8}),
        2,
        ("32", "16", "remedy: "),
        errors=0,
    ),
    Case("unknown check", qnext(checks={"npu-helth": "off"}), 2, ("npu-helth", "remedy: did you mean")),
    Case(
        "missing secret",
        qnext(serve={"api_key": {"env": "QNEXT_NOWHERE"}}),
        2,
        ("QNEXT_NOWHERE", "export QNEXT_NOWHERE"),
    ),
    Case(
        "inventory is not there", lambda nodes: nodes.place / "none.yaml", 2, ("none.yaml", "No such file", "remedy: ")
    ),
    Case("inventory is a folder", lambda nodes: nodes.place, 2, ("remedy: ",)),
    Case("unknown host in --limit", as_it_is, 2, ("'node7' is no host or group", "remedy: "), ("--limit", "node7")),
    Case("part of a layout", as_it_is, 2, ("--limit node1", "node2", "remedy: "), ("--limit", "node1")),
)


@pytest.mark.parametrize("case", OFFLINE, ids=str)
def test_before_any_connection(case: Case, cpu: Practice, program: Program) -> None:
    execs = [cpu.execs(name) for name in cpu.nodes]

    answer = program("up", "-i", case.make(cpu), *case.words)

    refused(case, answer)
    assert [cpu.execs(name) for name in cpu.nodes] == execs
    assert not program.runs.exists()


def refused(case: Case, answer: Answer) -> None:
    assert answer.exit == case.exit, answer.text
    assert not answer.stdout
    assert "Traceback" not in answer.text
    for text in case.says:
        assert text in answer.stderr, answer.stderr
    if case.errors:
        assert len(answer.errors) == case.errors, answer.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["upp"], "Did you mean 'up'?"),
        (["up", "-i", "x", "--chekc"], "--chek"),
        (["up"], "Missing option '-i'"),
        (["up", "-i", "x", "--forks", "0"], "--forks"),
        (["status", "-i", "x", "--watch", "--json"], "exclude each other"),
        (["parse", "npu-smi-inf", "x"], "npu-smi-info"),
        (["explain", "check", "npu-helth"], "did you mean 'npu_health'"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line(words: list[str], says: str, program: Program) -> None:
    answer = program(*words)

    assert answer.exit == 2
    assert says in answer.stderr
    assert not answer.stdout


# ---- what only the nodes can tell


def fault(node: str, key: str, value: str = "1", **changes: object) -> Callable[[Practice], Path]:
    def make(nodes: Practice) -> Path:
        nodes.fault(node, key, value)
        return nodes.write_inventory(**changes) if changes else nodes.inventory

    return make


def connection(**variables: object) -> Callable[[Practice], Path]:
    """The inventory with other connection variables; {folder} is the rehearsal's."""

    def make(nodes: Practice) -> Path:
        folder = {"folder": str(nodes.info.folder), "place": str(nodes.place)}
        filled = {name: v.format(**folder) if isinstance(v, str) else v for name, v in variables.items()}
        return nodes.write_inventory(vars=filled)

    return make


KNOWN = "-o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
MODEL = "/data/weights/Qwen3-Next-80B-A3B-Instruct"

ON_NODES = (
    Case(
        "wrong key",
        connection(ansible_ssh_private_key_file="{folder}/keys/stranger_ed25519", ansible_ssh_common_args=KNOWN),
        4,
        ("node1", "node2", "did not let user root in", "stranger_ed25519", "remedy"),
    ),
    Case(
        "missing key file",
        connection(ansible_ssh_private_key_file="{place}/none", ansible_ssh_common_args=KNOWN),
        4,
        ("none", "remedy"),
    ),
    Case(
        "unknown host key",
        connection(ansible_ssh_common_args="-o UserKnownHostsFile={place}/empty"),
        4,
        ("is not known", "/empty", "ssh-keyscan", "remedy"),
    ),
    Case(
        "changed host key",
        fault("node2", "ssh/host_key", "changed"),
        4,
        ("node2", "is not the known one", "known_hosts:2", "remedy", "ssh-keygen -R"),
    ),
    Case(
        "sudo refuses",
        connection(ansible_user="operator", ansible_become=True),
        1,
        ("sudo", "password", "remedy", "NOPASSWD"),
    ),
    Case("no docker", fault("node2", "docker/missing"), 3, ("node2", "docker", "remedy")),
    Case("docker daemon down", fault("node2", "docker/daemon", "down"), 3, ("node2", "docker", "daemon", "remedy")),
    Case(
        "port taken",
        fault("node1", "port/8000", "taken"),
        3,
        ("N18", "node1", "8000", "API", "remedy", "qnext.serve.port"),
    ),
    Case("model folder missing", fault("node2", "weights/missing"), 3, ("node2", MODEL, "remedy")),
    Case(
        "shard missing",
        fault("node2", "weights/missing_shard", "7"),
        3,
        ("node2", "model-00007-of-00041.safetensors", "remedy"),
    ),
    Case(
        "shard too short",
        fault("node2", "weights/short_shard", "7"),
        3,
        ("node2", "model-00007-of-00041.safetensors", "remedy"),
    ),
    Case(
        "no space",
        fault("node2", "disk/full", install={"image": "quay.io/rehearsal/vllm-cpu:other"}),
        3,
        ("node2", "free", "remedy"),
    ),
)


@pytest.mark.parametrize("case", ON_NODES, ids=str)
def test_nodes_stay_as_they_were(case: Case, cpu: Practice, program: Program) -> None:
    (cpu.place / "empty").touch()
    inventory = case.make(cpu)
    before = cpu.fingerprint()

    answer = program("up", "-i", inventory)

    assert answer.exit == case.exit, answer.text
    for text in case.says:
        assert text in answer.stderr, answer.stderr
    assert "Traceback" not in answer.text
    assert cpu.fingerprint() == before


def test_an_image_that_no_registry_has(cpu: Practice, program: Program) -> None:
    inventory = cpu.write_inventory(install={"image": "quay.io/rehearsal/vllm-cpu:v9.9.9"})
    before = cpu.fingerprint()

    answer = program("up", "-i", inventory)

    assert answer.exit == 1
    assert "quay.io/rehearsal/vllm-cpu:v9.9.9" in answer.stderr
    assert "manifest unknown" in answer.stderr
    assert "remedy" in answer.stderr
    assert cpu.fingerprint() == before


@pytest.mark.parametrize("command", ["up", "check", "down", "status", "facts", "verify"])
def test_json_stays_json_when_nodes_cannot_be_reached(command: str, cpu: Practice, program: Program) -> None:
    for name in cpu.nodes:
        cpu.fault(name, "ssh/stopped")
    words = ["--yes"] if command == "down" else []

    answer = program(command, "-i", cpu.inventory, "--json", *words)

    assert answer.exit == 4, answer.text
    assert "node1" in answer.text
    if answer.stdout:
        assert set(answer.json().get("unreachable", {"node1": 0, "node2": 0})) == {"node1", "node2"}
