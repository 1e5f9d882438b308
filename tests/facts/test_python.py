"""A Python environment: what can be imported, and what a broken one says."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from provision.facts.python import PathState, PythonEnvironment
from provision.results import Result


def test_an_interpreter_and_files(look: Any, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "data set").mkdir()
    (tmp_path / "data set" / "test.jsonl").touch()
    paths = tuple(str(tmp_path / name) for name in ("tokenizer.json", "data set", "none"))
    value = look(PythonEnvironment(sys.executable, ("pytest", "json", "no_such_module", "bad name"), paths))
    assert (value.exists, value.python, value.version) == (True, sys.executable, platform.python_version())
    assert value.modules == {"pytest": version("pytest"), "json": "", "no_such_module": None, "bad name": None}
    assert value.files == (
        PathState(paths[0], "file", 2, None, True),
        PathState(paths[1], "dir", None, 1, True),
        PathState(paths[2]),
    )
    assert value.of(paths[1]).entries == 1
    assert value.of("/elsewhere") == PathState("/elsewhere")
    assert value.problems == ()


def test_a_folder_of_the_name_in_the_present_one_is_no_module(
    look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert look(PythonEnvironment(sys.executable, ("only_here",))).modules["only_here"] is None


def test_a_virtual_environment_whose_python_is_gone(look: Any, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to("/nowhere/python3")
    value = look(PythonEnvironment(str(tmp_path)))
    assert (value.exists, value.python, value.version, value.modules) == (True, "", "", {})
    assert not look(PythonEnvironment(str(tmp_path / "none"))).exists


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("exit 124", "/v/bin/python3 does not end"),
        (
            "sh: line 0: libpython3.11.so.1.0: cannot open\nexit 127",
            "/v/bin/python3 does not run: sh: line 0: libpython",
        ),
        ("", "/v/bin/python3 does not run"),
    ],
)
def test_an_interpreter_that_does_not_run(answer: str, problem: str) -> None:
    text = f"@@ exists\n@@ python /v/bin/python3\n@@ answer\n{answer}\n@@ files\n"
    value = PythonEnvironment("/v").parse(Result("python-environment", 0, text))
    assert (value.python, value.version, value.modules) == ("/v/bin/python3", "", {})
    assert value.problems[0].startswith(problem)


def test_only_files(look: Any, tmp_path: Path) -> None:
    value = look(PythonEnvironment(files=(str(tmp_path),)))
    assert (value.exists, value.modules, value.files[0].kind) == (False, {}, "dir")
