"""A source install as a node tells it: the venv's record, the set of wheels, and what is half made."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.facts.source import SourceInstall

SUMS = f"{'a' * 64}  vllm-1-py3-none-any.whl\n"


def put(folder: Path, **record: Any) -> dict[str, Any]:
    """A set of wheels of one file."""
    folder.mkdir()
    (folder / "vllm-1-py3-none-any.whl").write_text("0123456789")
    (folder / "sums").write_text(SUMS)
    said = {
        "key": "k",
        "machine": "aarch64",
        "python": "3.11",
        "sums": hashlib.sha256(SUMS.encode()).hexdigest(),
        "files": [["vllm-1-py3-none-any.whl", 10, "a" * 64]],
        "commits": {"vllm": "9" * 40},
        "versions": {"vllm": "1"},
        **record,
    }
    (folder / "built").write_text(json.dumps(said))
    return said


@pytest.fixture
def fact(tmp_path: Path) -> SourceInstall:
    return SourceInstall(str(tmp_path / "venv"), str(tmp_path / "wheels"), sys.executable)


def test_a_node_with_nothing(look: Any, fact: SourceInstall) -> None:
    value = look(fact)
    assert (value.venv, value.wheels, value.whole, value.problems) == (None, None, False, ())
    assert value.python == platform.python_version()
    assert value.machine == platform.machine()


def test_wheels_and_a_venv(look: Any, fact: SourceInstall, tmp_path: Path) -> None:
    said = put(tmp_path / "wheels")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    record = {"id": "sha256:1", "wheels": said["sums"], "arch": "arm64", "versions": {"vllm": "1", "bad": 3}}
    (tmp_path / "venv" / "qnext.json").write_text(json.dumps(record))
    value = look(fact)
    assert value.whole
    assert [file.path for file in value.wheels.files] == ["vllm-1-py3-none-any.whl", "sums", "built"]
    assert value.wheels.files[1].sha256 == value.wheels.set_id == said["sums"]
    assert (value.wheels.commits, value.wheels.python) == ({"vllm": "9" * 40}, "3.11")
    assert (value.venv.id, value.venv.set_id, value.venv.versions) == ("sha256:1", said["sums"], {"vllm": "1"})
    (tmp_path / "wheels" / "vllm-1-py3-none-any.whl").write_text("cut")
    assert look(fact).lacking == ("vllm-1-py3-none-any.whl",)
    (tmp_path / "venv" / "bin" / "python").unlink()
    (tmp_path / "venv" / "bin" / "python").symlink_to("/nowhere/python")
    assert look(fact).venv is None, "its interpreter is gone"


@pytest.mark.parametrize(
    "record",
    [{"sums": "f" * 64}, {"files": [["../x", 1, "a" * 64]]}, {"files": [["x.whl", "1", "a" * 64]]}, {"files": [[]]}],
)
def test_a_record_that_cannot_be_is_none(look: Any, fact: SourceInstall, tmp_path: Path, record: Any) -> None:
    put(tmp_path / "wheels", **record)
    assert look(fact).wheels is None


def test_an_interpreter_that_is_not_there_or_says_other_things(look: Any, tmp_path: Path) -> None:
    assert look(SourceInstall("/v", "/w", "no-such-python")).python == ""
    (tmp_path / "py").write_text("#!/bin/sh\necho 'error while loading shared libraries'\n")
    (tmp_path / "py").chmod(0o755)
    value = look(SourceInstall("/v", "/w", str(tmp_path / "py")))
    assert value.python == ""
    assert "error while loading" in value.problems[0]
