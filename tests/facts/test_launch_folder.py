"""The launch folder: modes and contents of all files, a secret's digest alone."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.facts.launch_folder import LaunchFile, LaunchFolder, StaleSecrets, digest_of
from provision.results import Result


def test_files_of_all_kinds(look: Any, tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    contents = {"head.sh": b"#!/bin/sh\nexec docker run\n", "empty": b"", "two words.sh": b"\0\xff\n" * 300}
    for name, content in {**contents, "head.env": b"KEY=sk-canary\n"}.items():
        (folder / name).write_bytes(content)
        os.chmod(folder / name, 0o600 if name.endswith(".env") else 0o755)
    (folder / "below").mkdir()

    value = look(LaunchFolder(str(folder)))

    assert value.problems == ()
    assert value.files == {
        **{name: LaunchFile(0o755, digest_of(content), content) for name, content in contents.items()},
        "head.env": LaunchFile(0o600, digest_of(b"KEY=sk-canary\n")),
    }


def test_a_folder_that_is_not_there(look: Any, tmp_path: Path) -> None:
    value = look(LaunchFolder(str(tmp_path / "none")))

    assert (value.files, value.problems) == ({}, ())


def test_no_secret_comes_back(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "head.env").write_text("KEY=sk-canary\n")
    done = subprocess.run(
        ["sh", "-s"], input=LaunchFolder(str(tmp_path)).script(), capture_output=True, text=True, check=True
    )

    assert "canary" not in done.stdout
    assert base64.b64encode(b"KEY=sk-canary\n").decode().rstrip("=")[:12] not in done.stdout


@given(st.text())
def test_any_answer_is_read(text: str) -> None:
    LaunchFolder("/x").parse(Result("launch-folder", 0, text))


def test_what_cannot_be_read_is_a_problem() -> None:
    value = LaunchFolder("/x").parse(Result("launch-folder", 0, "755 !!! head.sh\n999 aGk= a\n755 aGk= b\n"))

    assert list(value.files) == ["b"]
    assert value.problems == ("755 !!! head.sh", "999 aGk= a")


DOCKER = """\
case $1 in
ps) printf '%s\\n' 'aaa head' 'bbb worker1' 'ccc server';;
inspect) case $4 in aaa) echo 'KEY=sk-canary'; echo 'OTHER=1';; *) echo 'KEY=sk-canary-of-old';; esac;;
esac
"""


def test_processes_with_another_secret_than_in_their_file(look: Any, tool: Any, tmp_path: Path) -> None:
    tool("docker", DOCKER)
    for process in ("head", "worker1"):
        (tmp_path / f"{process}.env").write_text("KEY=sk-canary\n")

    assert look(StaleSecrets("qnext", str(tmp_path))).processes == ("worker1",), "server has no secrets"
