"""Facts are tried on this very machine: their script through ``sh``, as a node runs it, then their parser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.facts.base import Fact
from provision.results import Result

Look = Callable[..., Any]
TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"


SHELLS = [words for words in ("sh", "busybox sh") if shutil.which(words.split()[0])]


@pytest.fixture(params=SHELLS)
def look(request: pytest.FixtureRequest, tmp_path: Path) -> Look:
    """``look(fact, **environment)``: the fact's value. ``tmp_path/bin`` comes first in PATH, for stand-in tools."""
    tool, *applet = str(request.param).split()
    words = [shutil.which(tool) or tool, *applet]
    if not sys.platform.startswith("linux"):
        pytest.skip("facts look at Linux nodes")

    def run(fact: Fact[Any], **environment: str) -> Any:
        result = ended(fact, [*words, "-s"], tmp_path, environment)
        assert result.stderr == ""
        return fact.parse(result)

    return run


@dataclass(frozen=True)
class With:
    """A fact on a node that has these device nodes and no others; ``links`` to them lie in ``folder``."""

    fact: Fact[Any]
    folder: Path

    @property
    def name(self) -> str:
        return self.fact.name

    def script(self) -> str:
        return self.fact.script().replace("/dev/davinci", f"{self.folder}/davinci")

    def parse(self, raw: Result) -> Any:
        return self.fact.parse(raw)


@pytest.fixture
def with_devices(tmp_path: Path) -> Callable[[Fact[Any], int], With]:
    """``with_devices(fact, count)``: the fact, where ``count`` dies have a device node, among other things."""

    def make(fact: Fact[Any], count: int) -> With:
        folder = tmp_path / "dev"
        folder.mkdir()
        for name in ("davinci_manager", "davinci0x", *(f"davinci{number}" for number in range(count))):
            (folder / name).symlink_to("/dev/null")
        (folder / "davinci99").touch()  # as docker makes one of a device that isn't there
        return With(fact, folder)

    return make


def ended(fact: Fact[Any], shell: list[str], folder: Path, environment: dict[str, str]) -> Result:
    variables = {"PATH": f"{folder / 'bin'}:{TOOLS}", "LC_ALL": "C", "HOME": str(folder), **environment}
    done = subprocess.run(shell, input=fact.script(), capture_output=True, text=True, env=variables, timeout=60)
    return Result(fact.name, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str, str], Path]:
    """``tool(name, script)`` puts a stand-in into PATH, before the machine's own."""

    def make(name: str, script: str) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}")
        os.chmod(path, 0o755)
        return path

    return make
