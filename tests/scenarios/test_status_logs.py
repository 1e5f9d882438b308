"""``status``, ``logs`` and the output of runs, on one cluster that stands for the whole module."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios import shared
from tests.scenarios.conftest import Clusters
from tests.scenarios.practice import Practice
from tests.scenarios.program import CTRL_C, Program, eventually, without_colour

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

BOTH = [("node1", "head"), ("node2", "worker1")]


@pytest.fixture(scope="module")
def standing(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    """A cluster that is up; tests only look at it."""
    practice = Practice(clusters("cpu", "standing"), tmp_path_factory.mktemp("standing"))
    shared.comes_up(Program(practice.place), practice.inventory)
    yield practice
    practice.reset()


def test_status_as_json(standing: Practice, program: Program) -> None:
    status = shared.status_tells(program, standing.inventory, BOTH)

    told = {"cluster", "endpoint", "served_name", "processes", "groups", "problem", "up", "degraded", "unreachable"}
    told.add("diagnosis")
    assert set(status) == told
    assert [group["serviceable"] for group in status["groups"]] == [True]
    assert status["cluster"] == "rehearsal"
    assert {p["image_id"][:7] for p in status["processes"]} == {"sha256:"}
    assert status["processes"][1]["health"] == "-"


def test_status_as_a_table(standing: Practice, program: Program) -> None:
    answer = program("status", "-i", standing.inventory)

    assert answer.exit == 0
    rows = [line.split() for line in answer.stdout.splitlines() if line.strip().startswith("node")]
    assert rows[0] == ["node", "process", "rank", "api", "state", "age", "health", "devices", "image", "drift"]
    assert [row[:5] for row in rows[1:]] == [
        ["node1", "head", "0", "8000", "running"],
        ["node2", "worker1", "1", "-", "running"],
    ]
    assert rows[1][6] == "answers"
    endpoint = f"http://{standing.info.addresses[0]}:8000"
    assert answer.stdout.splitlines()[-1] == f"rehearsal: up; 2 of 2 processes run; qwen3_next at {endpoint}"
    assert answer.stderr == ""


def test_status_shows_drift_against_the_inventory(standing: Practice, program: Program, tmp_path: Path) -> None:
    changed = Practice(standing.info, tmp_path).write_inventory(serve={"max_model_len": 4096})

    answer = program("status", "-i", changed, "--json")
    status = answer.json()

    assert (answer.exit, status["up"]) == (1, False)
    assert all("declared" in p["drift"][0] for p in status["processes"])


def test_status_of_one_node_by_limit(standing: Practice, program: Program) -> None:
    answer = program("status", "-i", standing.inventory, "--limit", "node2", "--json")

    assert answer.exit == 0, answer.text
    assert [(p["process"], p["drift"]) for p in answer.json()["processes"]] == [("worker1", [])]
    assert answer.json()["up"] is True


def test_status_with_a_node_out_of_reach(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    cpu.fault("node1", "ssh/stopped")

    table = program("status", "-i", cpu.inventory)
    status = program("status", "-i", cpu.inventory, "--json")

    assert (table.exit, status.exit) == (4, 4)
    assert "node1" in table.stderr
    assert "not up as declared; 1 of 2 processes run" in table.stdout
    assert set(status.json()["unreachable"]) == {"node1"}
    assert [(p["node"], p["state"], p["drift"]) for p in status.json()["processes"]] == [
        ("node1", "unknown", []),
        ("node2", "running", []),
    ]


def test_status_watched_on_a_terminal(standing: Practice, program: Program) -> None:
    shown = program.typed("status", "-i", standing.inventory, "--watch", "0.5", keys={"Ctrl-C ends": CTRL_C})

    assert shown.exit == 0, "Ctrl-C is how watching ends"
    assert "worker1" in shown.stdout
    assert "Traceback" not in shown.stdout


def test_logs_of_all_nodes_merged_by_time(standing: Practice, program: Program) -> None:
    answer = program("logs", "-i", standing.inventory, "--timestamps")

    assert answer.exit == 0, answer.text
    lines = [line.split(" | ", 1) for line in answer.stdout.splitlines()]
    assert {who.strip() for who, _ in lines} == {"node1/head", "node2/worker1"}
    times = [text.split()[0] for _, text in lines]
    assert times == sorted(times)
    assert any("Application startup complete" in text for _, text in lines)


def test_logs_of_one_node_and_of_one_process(standing: Practice, program: Program) -> None:
    by_node = program("logs", "-i", standing.inventory, "--node", "node2", "--tail", "3")
    by_process = program("logs", "-i", standing.inventory, "--process", "worker1", "--tail", "3")

    assert by_node.stdout == by_process.stdout
    assert len(by_node.stdout.splitlines()) == 3
    assert all(line.startswith("node2/worker1 | ") for line in by_node.stdout.splitlines())


def test_logs_since_then(standing: Practice, program: Program) -> None:
    assert program("logs", "-i", standing.inventory, "--since", "1h").stdout.count("\n") > 10
    assert program("logs", "-i", standing.inventory, "--since", "2090-01-01T00:00:00Z").stdout == ""


@pytest.mark.parametrize(("option", "value"), [("--since", "yesterday"), ("--tail", "many")])
def test_logs_refuses_what_docker_would_not_read(option: str, value: str, standing: Practice, program: Program) -> None:
    answer = program("logs", "-i", standing.inventory, option, value)

    assert answer.exit == 2, answer.text
    assert value in answer.stderr
    assert answer.stdout == ""


def test_followed_logs_end_with_a_ctrl_c(standing: Practice, program: Program) -> None:
    with program.start("logs", "-i", standing.inventory, "-f", "--tail", "1") as following:
        eventually(lambda: following.says("node1/head") and following.says("node2/worker1"), "both are followed")
        following.signal(signal.SIGINT)
        answer = following.ended()

    assert answer.exit == 0, "Ctrl-C is how following ends"
    assert "Traceback" not in answer.text


def test_followed_logs_end_when_all_processes_have_ended(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    with program.start("logs", "-i", cpu.inventory, "-f", "--tail", "1") as following:
        eventually(lambda: following.says("node1/head") and following.says("node2/worker1"), "both are followed")
        cpu.docker("node1", "stop", "qnext-rehearsal-head")
        cpu.docker("node2", "rm", "-f", "qnext-rehearsal-worker1")
        answer = following.ended()

    assert answer.exit == 0, answer.text
    assert "node1/head    | [exited with exit status 0]" in answer.stdout
    assert "node2/worker1 | [the container was removed]" in answer.stdout


def test_verify_begins_with_the_seed_request(standing: Practice, program: Program) -> None:
    answer = program("verify", "-i", standing.inventory)

    assert answer.exit == 0, answer.text
    names = [line.split()[1] for line in answer.stdout.splitlines()]
    assert "seed-chat" in names
    assert all(line.split()[0] == "ok" for line in answer.stdout.splitlines()), answer.stdout


def test_verify_of_a_part_that_has_no_server(standing: Practice, program: Program) -> None:
    answer = program("verify", "-i", standing.inventory, "--limit", "node2")

    assert answer.exit == 2
    assert answer.errors == ["error: --limit node2 leaves out node1, where the server answers"]


def test_facts_of_all_nodes(standing: Practice, program: Program) -> None:
    answer = program("facts", "-i", standing.inventory, "--only", "docker,containers", "--json")

    assert answer.exit == 0, answer.text
    assert {node: set(facts) for node, facts in answer.json().items()} == {
        "node1": {"docker", "containers"},
        "node2": {"docker", "containers"},
    }


# ---- how a run is shown


def test_plain_output_has_no_colour_and_folds_nodes(standing: Practice, program: Program) -> None:
    answer = program("up", "-i", standing.inventory)

    assert answer.exit == 0
    assert "\x1b" not in answer.text
    assert answer.stdout == ""
    assert normal(answer.stderr, standing, program) == NO_OP_UP


NO_OP_UP = """\
up: INVENTORY, 2 nodes
connected   node[1:2] (TIME)
== checks (node[1:2])
ok          observe: node[1:2] (TIME)
ok          checks: node[1:2]: N pass, N skipped (TIME)
== prepare (node[1:2])
ok          room for what comes: node[1:2]: nothing has to be moved (TIME)
ok          image on every node: node[1:2]: quay.io/rehearsal/vllm-cpu:v0.18.0 is there (TIME)
ok          the same image everywhere: node[1:2]: all hold sha256:14f58de24155 (TIME)
ok          what is installed: node[1:2]: vllm 0.18.0+cpu, torch 2.9.0+cpu (TIME)
ok          weights on every node: node[1:2]: no manifest is kept: compared by names, sizes and headers alone; \
`weights --record` makes one (TIME)
== launch (node[1:2])
ok          launch files: node[1:2]: 2 launch scripts in place (TIME)
ok          stop what differs: node[1:2]: every process runs as declared (TIME)
ok          start in waves: node[1:2]: all run already (TIME)
ok          wait for the server: node[1:2]: http://HEAD:8000 answers (TIME)
== prove (node[1:2])
ok          every engine generates: node[1:2]: 32 tokens from qwen3_next (TIME)
== checks (node[1:2])
ok          checks: node[1:2]: N pass, N skipped (TIME)
done: nothing changed (TIME)
"""


def normal(text: str, nodes: Practice, program: Program) -> str:
    """Output up to the result lines, without what differs from run to run."""
    text = text.replace(str(nodes.inventory), "INVENTORY").replace(nodes.info.addresses[0], "HEAD")
    text = re.sub(r"\(\d+\.\d s\)", "(TIME)", text)
    text = re.sub(r"\d+ (pass|skipped)", r"N \1", text)
    return text[: text.index("  time  ")].rstrip(" ")


def test_events_as_lines_of_json(standing: Practice, program: Program) -> None:
    answer = program("up", "-i", standing.inventory, "-o", "jsonl")

    events = [json.loads(line) for line in answer.stdout.splitlines()]
    assert events[0]["event"] == "run_started"
    assert events[-1]["event"] == "run_ended"
    assert events[-1]["exit_code"] == 0
    assert all(event["at"] > 0 for event in events)


def test_the_run_directory_holds_every_command(standing: Practice, program: Program) -> None:
    answer = program("up", "-i", standing.inventory, "--json")

    run = program.last_run()
    assert answer.json()["run_directory"] == str(run)
    record = json.loads((run / "run.json").read_text())
    assert (record["command"], record["exit_code"]) == ("up", 0)
    for node in standing.nodes:
        commands = (run / f"commands/{node}.log").read_text()
        assert "probe docker: exit 0" in commands
        assert "--- script" in commands
    assert (run.stat().st_mode & 0o777) == 0o700


def test_live_display_on_a_terminal(standing: Practice, program: Program) -> None:
    shown = program.typed("up", "-i", standing.inventory)

    assert shown.exit == 0, shown.stdout
    assert "\x1b[" in shown.stdout
    plain = without_colour(shown.stdout)
    assert "every engine generates" in plain
    assert f"http://{standing.info.addresses[0]}:8000" in plain


# ---- down asks


def test_down_asks_for_the_name_and_a_wrong_one_changes_nothing(standing: Practice, program: Program) -> None:
    execs = [standing.execs(name) for name in standing.nodes]

    shown = program.typed("down", "-i", standing.inventory, keys={"Type the cluster's name": "production"})

    assert shown.exit == 2, shown.stdout
    assert "'production' is not the cluster's name: nothing was done" in without_colour(shown.stdout)
    assert [standing.execs(name) for name in standing.nodes] == execs


def test_down_without_a_terminal_wants_yes(standing: Practice, program: Program) -> None:
    answer = program("down", "-i", standing.inventory)

    assert answer.exit == 2
    assert "--yes" in answer.stderr
