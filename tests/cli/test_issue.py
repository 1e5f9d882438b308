"""``report``: where it reads, where it writes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.program import Program

LOG = """\
INFO 01-31 08:00:00 [api_server.py:1] HF_TOKEN=c4nary on 10.1.2.3
ERROR 01-31 08:00:01 [core.py:1] ValueError: nobody has seen this before
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "atlas-1" / "head.log"
    path.parent.mkdir()
    path.write_text(LOG)
    return path


def test_a_log_from_anywhere_becomes_an_issue(program: Program, log: Path) -> None:
    answer = program("report", "--github", log)
    assert answer.exit == 0, answer.text
    assert answer.stdout.startswith("# \\[Bug\\]: ")
    assert "nobody has seen this before" in answer.stdout
    assert "HF_TOKEN=********" in answer.stdout
    assert "c4nary" not in answer.text


def test_it_is_written_to_a_file_and_says_how_to_send_it(program: Program, log: Path, tmp_path: Path) -> None:
    answer = program("report", log, "--anonymous", "-o", tmp_path / "issue.md")
    assert answer.exit == 0, answer.text
    assert answer.stdout == f"{tmp_path}/issue.md\n"
    assert "gh issue create --repo vllm-project/vllm-ascend --title '[Bug]: " in answer.stderr
    text = (tmp_path / "issue.md").read_text()
    assert "10.0.0.1" in text
    assert "10.1.2.3" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report"], "error: nothing to diagnose"),
        (["report", "nosuch.tar.gz"], "nosuch.tar.gz: no such file or folder"),
        (["report", "nosuch", "-o", "/no/such/folder/issue.md"], "can't be written: no such folder"),
        (["report", "--run", "nosuch"], "error: no run"),
    ],
)
def test_what_it_refuses(program: Program, words: list[str], said: str) -> None:
    answer = program(*words)
    assert answer.exit == 2
    assert said in answer.stderr
    assert "remedy: " in answer.stderr


def test_what_holds_no_failure_is_told_apart(program: Program, tmp_path: Path) -> None:
    (tmp_path / "head.log").write_text("INFO 01-31 08:00:00 [api_server.py:1] all is well\n")
    answer = program("report", tmp_path / "head.log")
    assert answer.exit == 0, answer.text
    assert "note: no failure was found" in answer.stderr
