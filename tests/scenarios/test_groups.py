"""Groups: each way to serve fails fast with the cause named, and what dies alone is started again alone.

The matrix runs without checks and proof, by a playbook of its own: the launch is what it is about.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.rehearsal import cluster as rehearsal
from tests.merging import merged
from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

IMAGE = "quay.io/rehearsal/vllm-cpu:v0.18.0"
OOM = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"
FOUR_NODES_PORT = 2780

LAUNCH = """\
summary: A launch without checks and proof
plays:
  - name: launch
    hosts: all
    tasks:
      - image: {}
      - launch_files: {}
      - start: {part: servers}
      - ready: {part: servers, timeout: 90}
      - start: {part: front}
      - ready: {part: front, timeout: 90}
"""
WAIT = 90
"""Seconds that the launch waits for servers."""

REPLICAS: dict[str, Any] = {"topology": "replicas", "data_parallel_size": None}
ENGINES: dict[str, dict[str, Any]] = {
    "data-parallel": {"topology": "data-parallel", "data_parallel_size": 2},
    "external-dp": {"topology": "external-dp", "data_parallel_size": 2},
    "hybrid-dp": {"topology": "hybrid-dp", "data_parallel_size": 2},
    "tensor-parallel": {"topology": "tensor-parallel", "data_parallel_size": None, "tensor_parallel_size": 2},
    "replicas": REPLICAS,
    "ray": {
        "topology": "ray",
        "data_parallel_size": None,
        "tensor_parallel_size": 8,
        "pipeline_parallel_size": 2,
        "expert_parallel": False,
    },
    "prefill-decode": {"topology": "prefill-decode", "data_parallel_size": 2, "tensor_parallel_size": 4},
}
ROLES = {"node1": "prefill", "node2": "decode"}

DEAD = f"0.1 3 {OOM}"
MEMORY = "an NPU has no memory left"
TAKEN = "is taken"
RANKS = "the nodes were launched with different settings"
ADDRESS = "listen on an address that is not its node's"
HANDSHAKE = "the head did not answer the workers' handshake"
RENDEZVOUS = "the ranks did not all arrive at the rendezvous"

Case = tuple[str, str, str, str, str, str, str]
MATRIX: list[Case] = [
    # topology, node, fault, value: process and node that are named, first cause
    ("data-parallel", "node2", "vllm/wrong_rank", "0", "head", "node1", RANKS),
    ("data-parallel", "node2", "vllm/wrong_address", "127.0.0.9", "worker1", "node2", HANDSHAKE),
    ("data-parallel", "node1", "vllm/die_at_start", DEAD, "head", "node1", MEMORY),
    ("data-parallel", "node1", "port/13389", "taken", "head", "node1", TAKEN),
    ("external-dp", "node2", "vllm/wrong_rank", "0", "rank1", "node2", ADDRESS),
    ("external-dp", "node2", "vllm/wrong_address", "127.0.0.9", "rank1", "node2", HANDSHAKE),
    ("external-dp", "node1", "vllm/die_at_start", DEAD, "rank0", "node1", MEMORY),
    ("external-dp", "node2", "port/8100", "taken", "rank1", "node2", TAKEN),
    ("hybrid-dp", "node2", "vllm/wrong_rank", "0", "server1", "node2", ADDRESS),
    ("hybrid-dp", "node2", "vllm/wrong_address", "127.0.0.9", "server1", "node2", HANDSHAKE),
    ("hybrid-dp", "node1", "vllm/die_at_start", DEAD, "server0", "node1", MEMORY),
    ("hybrid-dp", "node1", "port/13389", "taken", "server0", "node1", TAKEN),
    ("tensor-parallel", "node2", "vllm/wrong_address", "127.0.0.9", "worker1", "node2", RENDEZVOUS),
    ("tensor-parallel", "node1", "port/29501", "taken", "head", "node1", TAKEN),
    ("replicas", "node1", "vllm/die_at_start", DEAD, "replica0", "node1", MEMORY),
    ("replicas", "node2", "port/8100", "taken", "replica1", "node2", TAKEN),
    ("replicas", "node1", "port/8000", "taken", "router", "node1", TAKEN),
]
ON_NPUS: list[Case] = [
    ("ray", "node1", "vllm/die_at_start", DEAD, "head", "node1", MEMORY),
    ("ray", "node1", "port/6379", "taken", "head", "node1", TAKEN),
    ("prefill-decode", "node2", "vllm/die_at_start", DEAD, "decode-head", "node2", MEMORY),
    ("prefill-decode", "node1", "port/8100", "taken", "prefill-head", "node1", TAKEN),
]


def launching(nodes: Practice, program: Program) -> Program:
    """The program with the playbook ``launch``; a wait that stands for minutes takes seconds."""
    folder = nodes.place / "playbooks"
    folder.mkdir()
    (folder / "launch.yaml").write_text(LAUNCH)
    nodes.everywhere("vllm/handshake_seconds", "2")
    return program.with_env(QNEXT_PLAYBOOKS=str(folder))


def laid_out(nodes: Practice, topology: str) -> Path:
    """The inventory of a topology; in prefill-decode the hosts have roles."""
    path = nodes.write_inventory(serve=ENGINES[topology])
    if topology == "prefill-decode":
        data = yaml.safe_load(path.read_text())
        for host, role in ROLES.items():
            data["all"]["hosts"][host] = merged(data["all"]["hosts"][host] or {}, {"qnext": {"serve": {"role": role}}})
        path.write_text(yaml.safe_dump(data))
    return path


def fails_fast(nodes: Practice, program: Program, case: Case) -> None:
    topology, faulty, fault, value, process, node, cause = case
    program = launching(nodes, program)
    nodes.fault(faulty, fault, value)

    launch = program("launch", "-i", laid_out(nodes, topology), "--json")

    assert launch.exit == 1, launch.text
    (error,) = launch.json()["errors"].values()
    assert (error["kind"], error["node"]) == ("LaunchFailed", node), error
    assert process in error["message"]
    assert "first cause: " in error["message"]
    assert cause in error["message"].partition("first cause: ")[2]
    assert error["hint"]
    assert launch.json()["seconds"]["launch"] < WAIT, "it is told by what happened, not because a wait ran out"
    assert list((program.last_run() / "logs" / node).glob(f"{process}.log")), "its log is kept"


@pytest.mark.parametrize("case", MATRIX, ids=lambda case: "-".join(case[:3]).replace("/", "-"))
def test_each_way_fails_fast_with_the_cause(cpu: Practice, program: Program, case: Case) -> None:
    cpu.have_images(IMAGE)
    fails_fast(cpu, program, case)


@pytest.mark.parametrize("case", ON_NPUS, ids=lambda case: "-".join(case[:3]).replace("/", "-"))
def test_ways_that_need_npus_fail_fast_too(a2: Practice, program: Program, case: Case) -> None:
    fails_fast(a2, program, case)


@pytest.mark.parametrize("topology", ["data-parallel", "external-dp", "replicas"])
def test_a_late_node_is_waited_for(cpu: Practice, program: Program, topology: str) -> None:
    cpu.have_images(IMAGE)
    program = launching(cpu, program)
    cpu.mend("node2", "vllm/handshake_seconds")
    cpu.fault("node2", "vllm/late_seconds", "1.5")

    launch = program("launch", "-i", cpu.write_inventory(serve=ENGINES[topology]))

    assert launch.exit == 0, launch.text


@pytest.fixture
def four(tmp_path: Path, worker_id: str) -> Iterator[Practice]:
    """Four nodes without NPU."""
    number = int(worker_id.removeprefix("gw") or 0) if worker_id != "master" else 19
    info = rehearsal.up(tmp_path / "four", 4, "cpu", port=FOUR_NODES_PORT + number)
    try:
        yield Practice(info, tmp_path)
    finally:
        rehearsal.down(info.folder)


def test_of_four_ranks_the_one_that_died_is_named(four: Practice, program: Program) -> None:
    program = launching(four, program)
    four.fault("node3", "vllm/die_at_start", DEAD)

    inventory = four.write_inventory(serve={"topology": "external-dp", "data_parallel_size": 4})
    launch = program("launch", "-i", inventory, "--json")

    assert launch.exit == 1, launch.text
    (error,) = launch.json()["errors"].values()
    assert error["node"] == "node3"
    assert "rank2" in error["message"]
    assert MEMORY in error["message"]
    kept = sorted(path.name for path in (program.last_run() / "logs").rglob("rank*.log"))
    assert kept == ["rank0.log", "rank1.log", "rank2.log", "rank3.log"]


# ---- one dies, the others go on


def ids(nodes: Practice) -> dict[str, str]:
    """Container ids by name, of all nodes."""
    lines = [
        nodes.docker(node, "ps", "--no-trunc", "--format", "{{.Names}} {{.ID}}").split("\n") for node in nodes.nodes
    ]
    return dict(line.split() for each in lines for line in each if line)


def test_a_dead_replica_is_started_again_alone(cpu: Practice, program: Program) -> None:
    inventory = cpu.write_inventory(serve=REPLICAS)
    shared.comes_up(program, inventory)
    before = ids(cpu)
    cpu.docker("node2", "kill", "qnext-rehearsal-replica1")
    eventually(lambda: not cpu.docker("node2", "ps", "-q"), "the replica has ended")
    asked = program("verify", "-i", inventory, "--direct", "--only", "seed-chat")
    assert asked.exit == 1, asked.text
    assert asked.stdout.startswith("replica0 on node1:\nok    seed-chat ")
    assert "replica1 (port 8100) does not answer" in asked.stderr

    shared.comes_up(program, inventory)
    after = ids(cpu)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"qnext-rehearsal-replica1"}
    shared.up_again_changes_nothing(program, inventory)

    restart = program("restart", "-i", inventory, "--group", "replica0", "--grace", "5")
    assert restart.exit == 0, restart.text
    assert {name for name in after if after[name] != ids(cpu)[name]} == {"qnext-rehearsal-replica0"}

    unknown = program("restart", "-i", inventory, "--group", "replica7")
    assert unknown.exit == 2
    assert "Groups are: replica0, replica1, router" in unknown.text
    shared.goes_down(program, inventory)


def test_a_start_is_measured_and_the_next_one_compared(cpu: Practice, program: Program) -> None:
    cpu.everywhere("vllm/start_seconds", "8")
    shared.comes_up(program, cpu.inventory)
    assert "loading weights" in {event["phase"] for event in program.events("phase_reached")}
    (measured,) = program.events("start_measured")
    assert measured["durations"]["head: loading weights"] > 0.5
    assert (program.last_run() / "durations.json").exists()

    again = program("restart", "-i", cpu.inventory, "--grace", "5")

    assert again.exit == 0, again.text
    loading = [e for e in program.events("phase_reached") if e["phase"] == "loading weights"]
    assert loading[0]["usual"] == pytest.approx(measured["durations"][f"{loading[0]['process']}: loading weights"])
    assert any("usually" in event["text"] for event in program.events("progressed"))


# ---- the policy


def test_a_group_restarts_within_its_budget_and_then_fails_with_all_causes(cpu: Practice, program: Program) -> None:
    cpu.have_images(IMAGE)
    program = launching(cpu, program)
    cpu.fault("node2", "vllm/die_at_start", DEAD)
    serve = {**ENGINES["data-parallel"], "on_failure": "restart-group", "restart_budget": 1}

    launch = program("launch", "-i", cpu.write_inventory(serve=serve), "--json")

    assert launch.exit == 1, launch.text
    (error,) = launch.json()["errors"].values()
    assert "restarted once before, in vain" in error["message"]
    assert error["evidence"].count(MEMORY) >= 2
    (restart,) = program.events("group_restarted")
    assert (restart["processes"], restart["number"], restart["budget"]) == (["head", "worker1"], 1, 1)
    assert MEMORY in restart["cause"]
    assert "restart     the group (head, worker1), 1 of 1:" in launch.stderr
    kept = {path.name for path in (program.last_run() / "logs/node2").iterdir()}
    assert {"worker1.log", "worker1.2.log"} <= kept, "the evidence of each failure"


def test_a_watch_restarts_what_dies_and_others_go_on(cpu: Practice, program: Program) -> None:
    inventory = cpu.write_inventory(serve={**REPLICAS, "on_failure": "restart-group"})
    shared.comes_up(program, inventory)
    before = ids(cpu)

    with program.start("watch", "-i", inventory, "--for", "9", "--every", "1") as watch:
        eventually(lambda: watch.says("replica1 on node2 answers"), "it watches")
        cpu.docker("node2", "kill", "qnext-rehearsal-replica1")
        ended = watch.ended()

    assert ended.exit == 0, ended.text
    assert "replica1 on node2 exited with exit status 137 (before: answers)" in ended.stderr
    assert "restart     replica1, 1 of 2: replica1 exited with exit status 137" in ended.stderr
    assert "1 restart" in ended.stderr
    after = ids(cpu)
    assert {name for name in before if before[name] != after[name]} == {"qnext-rehearsal-replica1"}
    assert program("status", "-i", inventory).exit == 0


def test_a_watch_ends_with_the_cause_where_the_policy_is_to_fail(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)

    with program.start("watch", "-i", cpu.inventory, "--every", "1") as watch:
        eventually(lambda: watch.says("head on node1 answers"), "it watches")
        cpu.docker("node2", "kill", "qnext-rehearsal-worker1")
        ended = watch.ended()

    assert ended.exit == 1, ended.text
    assert "worker1 exited with exit status 137" in ended.stderr


def test_ctrl_c_ends_a_watch_cleanly(cpu: Practice, program: Program) -> None:
    cpu.have_images(IMAGE)
    launching(cpu, program)
    inventory = cpu.write_inventory(serve=REPLICAS)
    with_launch = program.with_env(QNEXT_PLAYBOOKS=str(cpu.place / "playbooks"))
    assert with_launch("launch", "-i", inventory).exit == 0

    with program.start("watch", "-i", inventory, "--every", "600", "-o", "jsonl") as watch:
        eventually(lambda: watch.says('"process_changed"'), "it watches")
        watch.signal(signal.SIGINT)
        ended = watch.ended()

    assert ended.exit == 130, ended.text
    assert "Traceback" not in ended.text
    assert len(ids(cpu)) == 3, "what it watched goes on"
