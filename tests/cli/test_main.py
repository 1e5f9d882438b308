"""The group: what commands there are, what an error looks like, and that help stays light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from provision.cli import main
from tests.scenarios.program import Program

COMMANDS = {
    *("up", "down", "check", "status", "logs", "render", "verify", "lint", "parse", "facts", "explain", "schema"),
    "rehearse",
}
HEAVY = ("pydantic", "jinja2", "paramiko", "fabric", "rich", "asyncssh", "cryptography")


def test_help_names_every_command(program: Program) -> None:
    answer = program("--help")

    assert answer.exit == 0
    listed = {line.split()[0] for line in answer.stdout.splitlines() if line.startswith("  ") and line.split()}
    assert listed >= COMMANDS
    assert "130 interrupted" in answer.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, program: Program) -> None:
    answer = program(name, "--help")

    assert answer.exit == 0
    assert "Example" in answer.stdout
    assert f"qnext-provision {name}" in answer.stdout


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from provision.cli.main import main; sys.argv = ['q', '--help']\n"
    code += f"try: main()\nexcept SystemExit: print('HEAVY', [m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr == "HEAVY []\n"


def test_version(program: Program) -> None:
    assert program("--version").stdout.startswith("qnext-provision, version ")


def test_an_operators_playbook_is_a_command(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "drain.yaml").write_text(
        "summary: Drain a node\nparams:\n  patience: {type: int, default: 5, help: Seconds to wait.}\n"
        "plays: [{name: x, hosts: all, tasks: [{same_image: {}}]}]\n"
    )
    program = program.with_env(QNEXT_PLAYBOOKS=str(folder))

    assert "Drain a node" in program("--help").stdout
    own = program("drain", "--help").stdout
    assert "--patience INTEGER" in own
    assert "Seconds to wait." in own
    assert "default: 5" in own


def test_the_first_folder_wins(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "up.yaml").write_text("summary: My own up\nplays: [{name: x, hosts: all, tasks: [{same_image: {}}]}]\n")

    assert "My own up" in program.with_env(QNEXT_PLAYBOOKS=str(folder))("--help").stdout


def test_a_defect_is_told_as_one(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **more: object) -> None:
        raise ZeroDivisionError("never mind")

    monkeypatch.setattr(main.cli, "main", broken)
    answer = program("status")

    assert answer.exit == 1
    assert "ZeroDivisionError: never mind" in answer.stderr
    assert answer.errors == ["error: this is a defect of qnext-provision; please report it with the lines above"]


def test_a_closed_pipe_is_no_traceback() -> None:
    words = [sys.executable, "-m", "provision", "schema"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_defect(closed: str, inventory: Path) -> None:
    command = f'"$0" -m provision down -i "$1" --limit nobody {closed}'

    done = subprocess.run(["sh", "-c", command, sys.executable, inventory], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
