"""Compilers, tools and the interpreter of a node that builds."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.facts.toolchain import Toolchain
from provision.results import Result


def test_this_machine(look: Any, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in {"my-g++": "g++ (Debian 12.2.0-14) 12.2.0", "ninja": "1.10.2", "dnf": "4"}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    value = look(Toolchain(sys.executable, "no-such-gcc", "my-g++"))
    assert value.python == platform.python_version()
    assert value.versions["gcc"] is None
    assert value.versions["g++"] == "12.2.0"
    assert value.versions["ninja"] == "1.10.2"
    assert value.manager in ("apt-get", "dnf")
    assert value.problems == ()


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("gcc (Ubuntu 11.4.0-1ubuntu1~22.04) 11.4.0", "11.4.0"),
        ("gcc (GCC) 10.3.1", "10.3.1"),
        ("gcc", ""),
        ("cmake version 3.22.0", "3.22.0"),
        ("rustc 1.75.0 (82e1608df 2023-12-21)", "1.75.0"),
    ],
)
def test_versions_in_the_words_of_each(line: str, version: str) -> None:
    name = {"cmake": "cmake", "rustc": "rustc"}.get(line.split()[0], "gcc")
    value = Toolchain().parse(Result("", 0, f"@@ tools\n{name} {line}\n@@ python\nlacks venv\nversion 3.9.2\n"))
    assert value.versions[name] == version
    assert (value.python, value.lacks, value.root) == ("3.9.2", ("venv",), False)


def test_an_interpreter_that_does_not_run() -> None:
    value = Toolchain().parse(Result("", 0, "@@ python\npython3: symbol lookup error\n@@ user\n0\n"))
    assert (value.python, value.said, value.root) == ("", "python3: symbol lookup error", True)
