"""The main job on two Atlas A3: from bare nodes to proven generation that spans both, and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Answer, Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

HEAD_AND_WORKER = [("node1", "head"), ("node2", "worker1")]


def test_bare_nodes_to_proven_generation_and_back(a3: Practice, program: Program) -> None:
    a3.forget_images()
    assert program("check", "-i", a3.inventory).exit == 0

    planned = plan_changes_nothing(a3, program)
    report = shared.comes_up(program, a3.inventory)
    assert labels(program, "action_done") == planned
    assert "8 engines, all generating" in report["result"]["ranks"]

    shared.up_again_changes_nothing(program, a3.inventory)
    shared.status_tells(program, a3.inventory, HEAD_AND_WORKER)
    rendered_scripts_are_those_on_the_nodes(a3, program)
    seed_request_is_answered(a3, program)

    shared.goes_down(program, a3.inventory)
    nothing_is_left(a3)


def plan_changes_nothing(nodes: Practice, program: Program) -> list[tuple[str, str]]:
    """``up --check`` tells the pull, the files and the starts, and leaves no trace. Returns what it tells."""
    before = nodes.fingerprint()
    plan = program("up", "-i", nodes.inventory, "--check", "--diff")
    assert plan.exit == 0, plan.text
    assert nodes.fingerprint() == before
    planned = labels(program, "action_planned")
    for node in nodes.nodes:
        steps = [label.split()[0] for name, label in planned if name == node]
        assert [step for step in steps if step in ("pull", "write", "start")] == ["pull", "write", "start"]
    assert "+exec docker run" in plan.text or "+docker run" in plan.text
    assert "nothing was changed" in plan.text
    return planned


def labels(program: Program, kind: str) -> list[tuple[str, str]]:
    """Node and label of the newest run's actions, by node; trials, which change nothing, left out."""
    actions = [event for event in program.events(kind) if event["task"] != "checks"]
    return sorted(((event["node"], event["label"]) for event in actions), key=lambda pair: pair[0])


def rendered_scripts_are_those_on_the_nodes(nodes: Practice, program: Program) -> None:
    out = nodes.place / "scripts"
    rendered = program("render", "-i", nodes.inventory, "--out", out)
    assert rendered.exit == 0, rendered.text
    assert sorted(path.name for path in out.glob("*.sh")) == ["node0.head.sh", "node1.worker1.sh"]
    for index, (node, process) in enumerate(HEAD_AND_WORKER):
        own = nodes.files(node)[f"rehearsal/launch/{process}.sh"]
        assert (out / f"node{index}.{process}.sh").read_bytes() == own


def seed_request_is_answered(nodes: Practice, program: Program) -> None:
    verified = program("verify", "-i", nodes.inventory, "--json")
    assert verified.exit == 0, verified.text
    cases = verified.json()["cases"]
    assert all(case["ok"] for case in cases)
    assert "seed-chat" in [case["name"] for case in cases]


def nothing_is_left(nodes: Practice) -> None:
    for name in nodes.nodes:
        assert nodes.containers(name) == []
        assert not (nodes.root(name) / "var/lib/qnext").exists()
        listening = (nodes.root(name) / "proc/net/tcp").read_text()
        assert f":{8000:04X} " not in listening
        assert f":{13389:04X} " not in listening


def test_a_rendered_script_run_by_hand_starts_its_container(cpu: Practice, program: Program) -> None:
    """No lock-in: the script needs nothing but sh and docker."""
    cpu.have_images("quay.io/rehearsal/vllm-cpu:v0.18.0")
    inventory = cpu.write_inventory(hosts=1, serve={"topology": "single", "data_parallel_size": None})
    out = cpu.place / "scripts"
    assert program("render", "-i", inventory, "--out", out).exit == 0

    done = by_hand(cpu, "node1", out / "node0.server.sh")

    assert done.exit == 0, done.text
    assert cpu.containers("node1") == ["qnext-rehearsal-server"]
    assert program("status", "-i", inventory, "--json").json()["processes"][0]["drift"] == []


def by_hand(nodes: Practice, name: str, script: Path) -> Answer:
    """Run a script on a node as an operator with ssh would."""
    import subprocess

    words = ["ssh", "-F", str(nodes.info.folder / "ssh_config"), name, "sh", "-s"]
    done = subprocess.run(words, input=script.read_text(), capture_output=True, text=True, check=False, timeout=60)
    return Answer(done.returncode, done.stdout, done.stderr)
