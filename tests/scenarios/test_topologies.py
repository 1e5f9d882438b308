"""The main job in its other shapes: other hardware, other topologies, a key that clients must send."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

KEY = "sk-canary-4f1d0c/$(touch x)'\" end"
"""A key with all that shells and JSON trip over."""


def test_single_on_one_a2(a2: Practice, program: Program) -> None:
    inventory = a2.write_inventory(hosts=1, serve={"topology": "single", "data_parallel_size": None})

    shared.main_job(program, inventory, [("node1", "server")])


def test_data_parallel_on_two_a2(a2: Practice, program: Program) -> None:
    report = shared.comes_up(program, a2.inventory)

    assert "4 engines, all generating" in report["result"]["ranks"]
    shared.goes_down(program, a2.inventory)


def test_tensor_parallel_over_two_nodes(cpu: Practice, program: Program) -> None:
    inventory = cpu.write_inventory(
        serve={"topology": "tensor-parallel", "tensor_parallel_size": 2, "data_parallel_size": None}
    )

    shared.main_job(program, inventory, [("node1", "head"), ("node2", "worker1")])


def test_a_key_is_used_and_never_shown(cpu: Practice, program: Program) -> None:
    """The canary: the key is in no output, no argv, and no file but the one that the server reads."""
    inventory = cpu.write_inventory(serve={"api_key": {"env": "QNEXT_TEST_KEY"}})
    program = program.with_env(QNEXT_TEST_KEY=KEY)

    shown = [program("up", "-i", inventory, "-vv", "--diff", "-o", "jsonl")]
    assert shown[0].exit == 0, shown[0].text
    shown += [
        program("up", "-i", inventory, "--json"),
        program("status", "-i", inventory, "--json", "-v"),
        program("logs", "-i", inventory),
        program("verify", "-i", inventory, "--json"),
        program("render", "-i", inventory, "--json"),
        program("facts", "-i", inventory, "--json", "-v"),
    ]
    assert [answer.exit for answer in shown] == [0] * len(shown), shown[-1].text
    assert files_with_the_key(cpu) == {"head.env": 0o600}
    for answer in shown:
        assert "canary" not in answer.text
    assert "canary" not in everything_below(program.runs)
    assert "canary" not in command_lines(cpu)


def files_with_the_key(nodes: Practice) -> dict[str, int]:
    """Names and permissions of the files of ours on the nodes that hold the key."""
    return {
        path.name: path.stat().st_mode & 0o777
        for name in nodes.nodes
        for path in (nodes.root(name) / "var/lib/qnext").rglob("*")
        if path.is_file() and b"canary" in path.read_bytes()
    }


def everything_below(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())


def command_lines(nodes: Practice) -> str:
    return "".join(
        nodes.docker(node, "inspect", "--format", "{{json .Config.Cmd}}", *nodes.containers(node))
        for node in nodes.nodes
    )
