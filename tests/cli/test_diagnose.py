"""``diagnose`` of files: where it reads from, what it says, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from provision.cli.diagnose import _last_failure
from tests.scenarios.program import Program

OOM = """\
(EngineCore_DP0 pid=7) INFO 01-31 08:00:00 [core.py:1] Initializing a V1 LLM engine
(EngineCore_DP0 pid=7) ERROR 01-31 08:00:01 [core.py:708] RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB
"""
FINE = "INFO 01-31 08:00:00 [api_server.py:1] Application startup complete.\n"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for node, text in (("node1", FINE), ("node2", OOM)):
        (tmp_path / "logs" / node).mkdir(parents=True)
        (tmp_path / "logs" / node / "vllm.log").write_text(text)
    return tmp_path / "logs"


def test_a_folder_of_logs(logs: Path, program: Program) -> None:
    answer = program("diagnose", logs)

    assert answer.exit == 1, answer.text
    first = answer.stdout.splitlines()[0]
    assert first.startswith("vllm on node2 failed")
    assert "NPU out of memory" in answer.stdout
    assert "qnext-provision explain npu-out-of-memory" in answer.stdout
    assert "\x1b" not in answer.stdout


def test_as_json(logs: Path, program: Program) -> None:
    (logs / "node1" / "core.log").write_bytes(bytes(range(256)) * 9)
    answer = program("diagnose", logs, "--json")
    told = answer.json()

    assert (answer.exit, told["exit_code"], told["failed"], told["known"]) == (1, 1, True, True)
    assert (told["node"], told["process"], told["id"]) == ("node2", "vllm", "npu-out-of-memory")
    assert "NPU out of memory" in told["proof"][0]["line"]
    assert told["notes"] == [{"path": "node1/core.log", "text": "it is no text, so it was passed over"}]
    documented = (Path(__file__).parents[2] / "docs/diagnose.md").read_text(encoding="utf-8")
    assert [key for key in told if f"`{key}`" not in documented] == [], "every key is documented"


def test_nothing_failed(logs: Path, program: Program) -> None:
    answer = program("diagnose", logs / "node1" / "vllm.log")

    assert (answer.exit, answer.stderr) == (0, "")


def test_an_unknown_failure_of_files_without_nodes(program: Program, tmp_path: Path) -> None:
    for name, second, error in (("head", 1, "FooBarError: no grease"), ("worker1", 3, "BazError: all wrong")):
        (tmp_path / f"{name}.log").write_text(f"ERROR 01-31 08:00:0{second} [x.py:1] {error}\n")

    answer = program("diagnose", tmp_path / "head.log", tmp_path / "worker1.log")

    assert answer.exit == 1
    assert answer.stdout.startswith("head failed first at 08:00:01")
    assert "worker1 failed because of it" in answer.stdout.splitlines()[0]
    assert "qnext-provision report --github " in answer.stdout
    assert "qnext-provision logs -i" not in answer.stdout


def test_a_recorded_run(program: Program, tmp_path: Path) -> None:
    state = tmp_path / "state" / "runs"
    for name in ("20260131T080000Z-up-aaaaaa", "20260131T090000Z-up-bbbbbb"):
        folder = state / name / "logs" / "blade"
        folder.mkdir(parents=True)
        (state / name / "run.json").write_text("{}")
        (folder / "head.log").write_text(OOM if name.endswith("bbbbbb") else FINE)

    elsewhere = program.with_env(QNEXT_STATE=str(tmp_path / "state"))

    by = {run: elsewhere("diagnose", "--run", run) for run in RUNS}

    assert [answer.exit for answer in by.values()] == [1, 1, 0, 0]
    assert by["latest"].stdout.startswith("head on blade failed")
    lost = elsewhere("diagnose", "--run", "cccccc")
    assert (lost.exit, "20260131T090000Z-up-bbbbbb" in lost.stderr) == (2, True)


def test_a_run_without_logs_says_how_it_ended(program: Program, tmp_path: Path) -> None:
    runs = tmp_path / "state" / "runs"
    for name, summary in (("20260131T080000Z-up-aaaaaa", "died"), ("20260131T090000Z-up-bbbbbb", "failed at 'checks'")):
        (runs / name).mkdir(parents=True)
        (runs / name / "run.json").write_text(json.dumps({"command": "up", "summary": summary, "exit_code": 3}))
    (runs / "20260131T080000Z-up-aaaaaa" / "evidence.tar.gz").touch()

    answer = program.with_env(QNEXT_STATE=str(tmp_path / "state"))("diagnose", "--run", "latest")

    assert answer.exit == 2
    assert "run 20260131T090000Z-up-bbbbbb kept no server's log: failed at 'checks'" in answer.stderr
    assert "remedy: the last one that kept logs: --run 20260131T080000Z-up-aaaaaa" in answer.stderr


@pytest.mark.parametrize(("exit_code", "told"), [(3, True), (0, False), (130, False)])
def test_the_last_run_is_told_where_it_failed(
    exit_code: int, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QNEXT_STATE", str(tmp_path))
    for name, cluster in (("20260131T080000Z-up-aaaaaa", "mine"), ("20260131T090000Z-up-bbbbbb", "other")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        record = {"command": "up", "cluster": cluster, "summary": "failed at 'checks'", "exit_code": exit_code}
        (tmp_path / "runs" / name / "run.json").write_text(json.dumps({**record, "started": "2026-01-31T08:00:00Z"}))

    said = "the last `up` of 2026-01-31T08:00:00Z failed at 'checks'"
    assert _last_failure("mine") == (said if told else "")
    assert _last_failure("nobody") == ""


RUNS = ("latest", "bbbbbb", "aaaaaa", "20260131T080000Z-up-aaaaaa")


def test_stdin(program: Program) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "provision", "diagnose", "-", "--json"],
        input=OOM,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert json.loads(done.stdout)["id"] == "npu-out-of-memory"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing to diagnose"),
        (("absent.tar.gz",), "no such file or folder"),
        (("-i", "cluster.yaml", "a.log"), "excludes files"),
        (("--run", "latest", "a.log"), "--run excludes"),
        (("-", "a.log"), "can't be mixed"),
        (("a.log", "--limit", "x"), "--limit is for a live cluster"),
        (("a.log", "--node", "x"), "--node is for a live cluster"),
        (("--run", "./nowhere"), "no folder of a run"),
        (("-i", "absent.yaml"), "absent.yaml"),
    ],
)
def test_bad_command_lines_have_a_remedy(words: tuple[str, ...], said: str, program: Program) -> None:
    answer = program("diagnose", *words)

    assert answer.exit == 2
    assert said in answer.stderr
    assert "remedy: " in answer.stderr


def test_an_inventory_of_the_environment_gives_way_to_files(logs: Path, program: Program) -> None:
    assert program.with_env(QNEXT_INVENTORY="absent.yaml")("diagnose", logs).exit == 1
