"""A playbook as a command: its params are options; what is refused before any connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.cli.playbook import playbook_command
from tests.scenarios.program import Program

PLAYBOOK = """\
summary: All kinds of parameters
params:
  count: {type: int, default: 3, min: 1}
  share: {type: float, default: 0.5, min: 0.1}
  quick: {type: bool, default: true}
  kind: {type: choice, choices: [a, b], default: a}
  names: {type: list, default: [x, y]}
  must_have: {type: string, required: true}
plays: [{name: x, hosts: all, tasks: [{same_image: {}}]}]
"""


def test_params_become_options(tmp_path: Path) -> None:
    path = tmp_path / "kinds.yaml"
    path.write_text(PLAYBOOK)

    command = playbook_command(path)

    options = {option: p for p in command.params for option in [*p.opts, *p.secondary_opts]}
    assert options["--must-have"].required
    assert "--no-quick" in options
    assert options["--yes"].hidden
    assert options["--names"].multiple
    assert {"-i", "--limit", "--check", "--diff", "--tags", "--json", "-o", "--forks", "-v"} <= set(options)
    assert command.get_short_help_str() == "All kinds of parameters"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--count", "many"], "--count"),
        (["--count", "0"], "--count"),
        (["--share", "-1"], "--share"),
        (["--share", "nan"], "share takes 0.1 or more"),
        (["--kind", "c"], "--kind"),
        ([], "--must-have"),
    ],
)
def test_a_wrong_param_is_refused(
    words: list[str], says: str, tmp_path: Path, program: Program, inventory: Path
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/kinds.yaml").write_text(PLAYBOOK)

    answer = program.with_env(QNEXT_PLAYBOOKS=str(tmp_path / "own"))("kinds", "-i", inventory, *words)

    assert answer.exit == 2
    assert says in answer.stderr


def test_yes_is_taken_by_playbooks_that_do_not_ask(program: Program, inventory: Path) -> None:
    answer = program("up", "-i", inventory, "--yes", "--limit", "nobody")

    assert "'nobody' is no host or group" in answer.stderr


def test_an_empty_limit_is_not_everything(program: Program, inventory: Path) -> None:
    answer = program("down", "-i", inventory, "--yes", "--limit", "")

    assert answer.exit == 2
    assert answer.errors == ["error: '' names no host"]


def test_up_of_a_part_of_a_layout_is_refused(program: Program, inventory: Path) -> None:
    answer = program("up", "-i", inventory, "--limit", "atlas-1")

    assert answer.exit == 2
    assert answer.errors == [
        "error: --limit atlas-1 leaves out atlas-2, which the data-parallel layout needs",
    ]


def test_up_of_some_replicas_is_not_refused(program: Program, inventory: Path) -> None:
    text = inventory.read_text().replace("topology: data-parallel", "topology: replicas")
    inventory.write_text(text.replace(", data_parallel_size: 8", "").replace("192.0.2.", "127.66.66."))

    answer = program("up", "-i", inventory, "--limit", "atlas-1", "--check")

    assert answer.exit == 4, answer.text
    assert "leaves out" not in answer.text


def test_an_impossible_layout_is_refused(program: Program, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("tensor_parallel_size: 4", "tensor_parallel_size: 16"))

    for command in ("up", "check"):
        answer = program(command, "-i", inventory)
        assert answer.exit == 2
        assert any(line.startswith("error: S") for line in answer.errors)
        assert "remedy: " in answer.stderr


@pytest.mark.parametrize("command", ["up", "check", "lint"])
def test_a_secret_that_cannot_be_had_is_told_before_any_connection(
    command: str, program: Program, inventory: Path
) -> None:
    text = inventory.read_text().replace("serve: {", "serve: {api_key: {env: QNEXT_NOWHERE}, ")
    inventory.write_text(text)

    answer = program(command, "-i", inventory)

    assert answer.exit == 2
    assert answer.errors == ["error: secret {env: QNEXT_NOWHERE}: not set"]


def test_down_without_a_terminal_needs_yes(program: Program, inventory: Path) -> None:
    answer = program("down", "-i", inventory)

    assert answer.exit == 2
    assert "atlas-1, atlas-2" in answer.stderr
    assert "remedy: pass --yes" in answer.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--only", "disk,npu-helth"], ["error: --only: no check is named 'npu-helth'"]),
        (["--skip", "N99"], ["error: --skip: no check is named 'N99'"]),
    ],
)
def test_an_unknown_check_is_refused_before_any_connection(
    words: list[str], says: list[str], program: Program, inventory: Path
) -> None:
    answer = program("check", "-i", inventory, *words)

    assert answer.exit == 2
    assert answer.errors == says
    assert "remedy: " in answer.stderr
    assert "connected" not in answer.stderr + answer.stdout
