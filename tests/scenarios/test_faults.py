"""What goes wrong on a node: each fault is told with the node, the process, the first cause and the remedy.

NPUs have no part in these, so they run on nodes without any, which is quicker.
"""

from __future__ import annotations

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program, eventually

pytestmark = pytest.mark.rehearsal

IMAGE = "quay.io/rehearsal/vllm-cpu:v0.18.0"
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
      - image: {ref: "{{ qnext.install.image }}"}
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

    again = shared.comes_up(program, cpu.inventory)
    assert again["changed"] > 0
    assert cpu.docker("node2", "ps", "-q") not in ("", worker), "the worker outlives its head, so it must be new"
    assert (program.last_run() / "logs/node1/head.log").exists(), "the dead head's log is kept"


def test_a_worker_removed_by_hand_comes_back(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    cpu.docker("node2", "rm", "-f", "qnext-rehearsal-worker1")

    status = program("status", "-i", cpu.inventory)
    assert "missing" in status.stdout
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


def test_one_unreachable_node_keeps_all_from_being_changed(cpu: Practice, program: Program) -> None:
    cpu.fault("node2", "ssh/stopped")
    before = cpu.fingerprint()

    up = program("up", "-i", cpu.inventory)

    assert up.exit == 4, up.text
    assert "node2" in up.stderr
    assert "refused" in up.stderr
    assert "remedy" in up.stderr
    assert cpu.fingerprint() == before


def test_down_with_an_unreachable_node_cleans_the_others_and_says_so(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    cpu.fault("node2", "ssh/stopped")

    down = program("down", "-i", cpu.inventory, "--yes")

    assert down.exit == 4, down.text
    assert cpu.containers("node1") == []
    assert not (cpu.root("node1") / "var/lib/qnext").exists()
    assert cpu.containers("node2") == ["qnext-rehearsal-worker1"]
    last = down.stderr.split("== prove")[-1]
    assert "node2" in last, "what could not be proven is said at the end"

    cpu.mend("node2", "ssh/stopped")
    assert program("down", "-i", cpu.inventory, "--yes").exit == 0
    assert cpu.containers("node2") == []


def test_down_of_a_half_made_cluster(cpu: Practice, program: Program) -> None:
    cpu.have_images(IMAGE)
    cpu.docker("node2", "run", "-d", "--name", "qnext-rehearsal-worker7", "--label", "qnext.cluster=rehearsal",
               "--label", "qnext.process=worker7", IMAGE, "sleep", "600")  # fmt: skip
    cpu.docker("node2", "run", "-d", "--name", "neighbour", IMAGE, "sleep", "600")
    (cpu.root("node1") / "var/lib/qnext/rehearsal/launch").mkdir(parents=True)

    down = program("down", "-i", cpu.inventory, "--yes")

    assert down.exit == 0, down.text
    assert cpu.containers("node2") == ["neighbour"], "what carries no label of ours is not touched"
    assert not (cpu.root("node1") / "var/lib/qnext").exists()


def test_a_full_disk_during_the_pull(cpu: Practice, program: Program) -> None:
    cpu.forget_images()
    cpu.fault("node2", "docker/pull_seconds_per_layer", "0.1")
    cpu.fault("node2", "disk/full")
    inventory = cpu.write_inventory(checks={"disk": "warn"})

    up = program("up", "-i", inventory)

    assert up.exit == 1, up.text
    assert "no space left on device" in up.stderr.lower()
    assert "node2" in up.stderr
    assert "remedy" in up.stderr
    assert not any(cpu.containers(name) for name in cpu.nodes)


@pytest.mark.parametrize("moment", ["docker pull", "qnext.digest", "head.sh"])
def test_a_connection_that_breaks_in_the_middle(moment: str, cpu: Practice, program: Program) -> None:
    """Whatever was under way, the run ends proven or with one clear error, and the next ``up`` converges."""
    cpu.forget_images()
    cpu.fault("node1", "ssh/drop_at", moment)

    first = program("up", "-i", cpu.inventory)
    assert first.exit in (0, 4), first.text
    if first.exit:
        assert "node1" in first.stderr
    shared.comes_up(program, cpu.inventory)

    assert cpu.containers("node1") == ["qnext-rehearsal-head"]
    assert cpu.containers("node2") == ["qnext-rehearsal-worker1"]
