"""What goes wrong on a node: each fault is told with the node, the process, the first cause and the remedy.

NPUs have no part in these, so they run on nodes without any, which is quicker.
"""

from __future__ import annotations

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

OOM = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"


def test_a_process_that_dies_at_start_fails_the_launch_at_once(cpu: Practice, program: Program) -> None:
    cpu.fault("node2", "vllm/die_at_start", f"0.1 3 {OOM}")

    up = program("up", "-i", cpu.inventory, "--json")

    assert up.exit == 1, up.text
    (error,) = up.json()["errors"].values()
    assert error["kind"] == "LaunchFailed"
    assert error["node"] == "node2"
    assert "exited with exit status" in error["message"]
    assert "first cause: an NPU has no memory left" in error["message"]
    assert "worker1" in error["message"], "whoever noticed first, the process that began it is named"
    assert OOM in error["evidence"]
    assert error["hint"]
    launch = up.json()["seconds"]["launch"]
    assert launch < 10, f"{launch} s until a dead process was told"
    assert OOM in (program.last_run() / "logs/node2/worker1.log").read_text()
    assert (program.last_run() / "logs/node1/head.log").exists()


def test_an_engine_that_dies_at_its_first_token_fails_the_proof(cpu: Practice, program: Program) -> None:
    """Health and model list say 200, so only a proof by tokens notices."""
    cpu.fault("node1", "vllm/die_at_first_token")

    up = program("up", "-i", cpu.inventory)

    assert up.exit == 1, up.text
    assert "answers" in up.stderr
    assert "every engine generates: node1: head does not generate" in up.stderr
    assert "EngineDeadError" in up.stderr
    assert "remedy" in up.stderr
    assert "EngineDeadError" in (program.last_run() / "logs/node1/head.log").read_text()


def test_an_engine_that_stays_silent_is_named(cpu: Practice, program: Program) -> None:
    cpu.fault("node1", "vllm/silent_engine", "1")
    playbook = (cpu.place / "playbooks").mkdir() or cpu.place / "playbooks/hasty.yaml"
    playbook.write_text(HASTY)

    up = program.with_env(QNEXT_PLAYBOOKS=str(playbook.parent))("hasty", "-i", cpu.inventory)

    assert up.exit == 1, up.text
    assert "engine 1 (worker1 on node2)" in up.stderr


HASTY = """\
summary: up, with little patience for the proof
plays:
  - name: all of it
    hosts: all
    tasks:
      - image: {}
      - launch_files: {}
      - start: {}
      - ready: {}
      - prove: {timeout: 4}
"""


def test_a_head_that_died_is_shown_and_its_group_started_anew(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    worker = cpu.docker("node2", "ps", "-q")
    cpu.docker("node1", "kill", "qnext-rehearsal-head")
    eventually(lambda: not cpu.docker("node1", "ps", "-q"), "the head has ended")

    status = program("status", "-i", cpu.inventory, "--json").json()
    assert status["up"] is False
    head = status["processes"][0]
    assert (head["process"], head["state"], head["exit_code"]) == ("head", "exited", 137)
    assert head["drift"]
    (why,) = status["diagnosis"]
    assert (why["failed"], why["node"], why["process"]) == (True, "node1", "head")
    told = program("status", "-i", cpu.inventory)
    assert f"why: {why['sentence']}" in told.stdout
    assert "proof: qnext-provision diagnose -i " in told.stdout

    again = shared.comes_up(program, cpu.inventory)
    assert again["changed"] > 0
    assert cpu.docker("node2", "ps", "-q") not in ("", worker), "the worker outlives its head, so it must be new"
    assert (program.last_run() / "logs/node1/head.log").exists(), "the dead head's log is kept"


def test_a_worker_removed_by_hand_comes_back(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    cpu.docker("node2", "rm", "-f", "qnext-rehearsal-worker1")

    status = program("status", "-i", cpu.inventory)
    assert status.exit == 1
    assert "worker1 on node2 is missing" in status.stdout
    shared.comes_up(program, cpu.inventory)

    assert cpu.containers("node2") == ["qnext-rehearsal-worker1"]


def test_a_clock_that_is_off_warns(cpu: Practice, program: Program) -> None:
    cpu.fault("node2", "clock/skew", "90")

    answer = program("check", "-i", cpu.inventory, "--json")

    assert answer.exit == 0, answer.text
    (skew,) = [f for check in answer.json()["checks"] for f in check["findings"] if "clocks" in f["summary"]]
    assert (skew["code"], skew["level"]) == ("X08", "warn")
    assert "node2" in skew["node"] + skew["summary"]
    assert "90" in skew["summary"] + skew["observed"]
