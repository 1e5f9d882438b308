"""A run that was cut short: what was under way goes on or is ended, and the next run converges."""

from __future__ import annotations

import signal

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

SLOW = "2"
"""Seconds a layer, of eight: long enough for a second run to come by, on a busy machine too."""

PULL = "rehearsal/jobs/pull-quay.io-rehearsal-vllm-cpu-v0.18.0"


def pulls(nodes: Practice, name: str) -> int:
    """How often docker began to pull on a node."""
    log = nodes.files(name).get(f"{PULL}/log", b"")
    return log.count(b"pulling quay.io/rehearsal/vllm-cpu")


def test_a_killed_controller_mid_pull(cpu: Practice, program: Program) -> None:
    """The pull goes on by itself; the next ``up`` attaches to it instead of starting a second one."""
    cpu.forget_images()
    cpu.everywhere("docker/pull_seconds_per_layer", SLOW)
    with program.start("up", "-i", cpu.inventory) as first:
        eventually(lambda: all(pulls(cpu, name) for name in cpu.nodes), "both nodes pull")
        first.signal(signal.SIGKILL)
        first.process.wait()
    jobs = {name: cpu.files(name)[f"{PULL}/pid"] for name in cpu.nodes}

    with program.start("up", "-i", cpu.inventory, "-o", "jsonl") as second:
        eventually(lambda: second.says(" layers, "), "the second run sees the pull's progress")
        assert not any(f"{PULL}/exit" in cpu.files(name) for name in cpu.nodes), "the pull was over too soon"
        for name in cpu.nodes:
            cpu.mend(name, "docker/pull_seconds_per_layer")
        answer = second.ended()

    assert answer.exit == 0, answer.text
    for name in cpu.nodes:
        assert pulls(cpu, name) == 1
        assert cpu.files(name)[f"{PULL}/pid"] == jobs[name]


def test_interrupted_mid_pull(cpu: Practice, program: Program) -> None:
    cpu.forget_images()
    cpu.everywhere("docker/pull_seconds_per_layer", SLOW)
    with program.start("up", "-i", cpu.inventory) as up:
        eventually(lambda: all(pulls(cpu, name) for name in cpu.nodes), "both nodes pull")
        up.signal(signal.SIGINT)
        answer = up.ended()

    assert answer.exit == 130, answer.text
    assert "stopped by the operator" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert str(program.last_run()) in answer.stderr
    assert (program.last_run() / "events.jsonl").read_text().count("run_ended") == 1


def test_interrupted_while_the_server_loads(cpu: Practice, program: Program) -> None:
    cpu.have_images("quay.io/rehearsal/vllm-cpu:v0.18.0")
    cpu.everywhere("vllm/start_seconds", "20")
    with program.start("up", "-i", cpu.inventory) as up:
        eventually(lambda: up.says("started ("), "the processes have started")
        up.signal(signal.SIGTERM)
        answer = up.ended()

    assert answer.exit == 130, answer.text
    assert "Traceback" not in answer.stderr
    assert cpu.containers("node1") == ["qnext-rehearsal-head"], "what runs goes on: the next up waits for it"
    cpu.mend("node1", "vllm/start_seconds")
    assert program("down", "-i", cpu.inventory, "--yes").exit == 0


def test_a_killed_controller_while_the_server_loads(cpu: Practice, program: Program) -> None:
    cpu.have_images("quay.io/rehearsal/vllm-cpu:v0.18.0")
    cpu.everywhere("vllm/start_seconds", "2")
    with program.start("up", "-i", cpu.inventory) as up:
        eventually(lambda: cpu.containers("node2"), "the worker runs")
        up.signal(signal.SIGKILL)
        up.process.wait()

    shared.comes_up(program, cpu.inventory)

    assert cpu.containers("node1") == ["qnext-rehearsal-head"]
    assert cpu.containers("node2") == ["qnext-rehearsal-worker1"]
    shared.up_again_changes_nothing(program, cpu.inventory)


def test_interrupted_down_goes_on(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    with program.start("down", "-i", cpu.inventory, "--yes") as down:
        eventually(lambda: down.says("== stop"), "down has begun")
        down.signal(signal.SIGINT)
        assert down.ended().exit in (0, 130)

    again = program("down", "-i", cpu.inventory, "--yes")

    assert again.exit == 0, again.text
    assert not any(cpu.containers(name) for name in cpu.nodes)
