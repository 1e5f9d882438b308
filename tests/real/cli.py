"""Drive the program as an operator does: by its command line, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .nodes import wait_for

LONGEST = 600.0
"""Seconds that one command may take here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    exit: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr

    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class Program:
    """The program, its run directories below ``state``."""

    state: Path

    def __call__(self, *words: str | Path) -> Answer:
        done = subprocess.run(
            self._argv(*words),
            env=self._env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str | Path, stdout: IO[str], stderr: IO[str]) -> subprocess.Popen[bytes]:
        """Begin a command that goes on; whoever begins it ends it."""
        argv, env = self._argv(*words), self._env()
        return subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)

    def killed_when(self, condition: Callable[[], object], what: str, *words: str | Path) -> None:
        """Run a command and kill it without a warning as soon as ``condition`` holds."""
        process = subprocess.Popen(
            self._argv(*words),
            env=self._env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            wait_for(lambda: condition() or process.poll() is not None, 180, what)
            assert process.poll() is None, f"the command had ended before: {what}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def last_run(self) -> Path:
        """The newest run directory."""
        return (self.state / "runs" / "latest").resolve()

    def _argv(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "provision", *map(str, words)]

    def _env(self) -> dict[str, str]:
        return {**os.environ, "QNEXT_STATE": str(self.state), "PYTHONDONTWRITEBYTECODE": "1"}
