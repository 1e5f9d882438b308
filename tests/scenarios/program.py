"""Drive the program as an operator does: by its command line.

``Program`` runs a command in this process, which saves half a second a command; what a pipe would see is what is
captured. ``Program.start`` runs it in a process of its own, for signals and kills; ``Program.typed`` on a terminal.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

from provision.cli.main import main

CTRL_C = "\x03"

LONGEST = 120.0
"""Seconds that one command may take here, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended. ``stdout`` is data, ``stderr`` is progress and errors."""

    exit: int
    stdout: str
    stderr: str
    seconds: float = 0.0

    @property
    def text(self) -> str:
        return self.stdout + self.stderr

    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that tell an error."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


@dataclass(frozen=True, slots=True)
class Program:
    """The program, with its home folder and run directories below ``place``."""

    place: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        """Folder of the run directories."""
        return self.place / "runs"

    def with_env(self, **more: str) -> Program:
        return Program(self.place, {**self.environment, **more})

    def __call__(self, *words: str | Path) -> Answer:
        """Run a command as in a pipe and wait for its end."""
        out, err = io.StringIO(), io.StringIO()
        began = time.monotonic()
        with (
            mock.patch.dict(os.environ, self._environment()),
            mock.patch.object(sys, "argv", ["qnext-provision", *map(str, words)]),
            mock.patch.object(sys, "stdin", io.StringIO()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _limited(),
        ):
            status = _status(main)
        return Answer(status, out.getvalue(), err.getvalue(), time.monotonic() - began)

    @contextlib.contextmanager
    def start(self, *words: str | Path) -> Iterator[Started]:
        """Run a command in a process of its own for the length of a block; what is left of it is ended."""
        with (
            open(self.place / "stdout", "w+", encoding="utf-8") as out,
            open(self.place / "stderr", "w+", encoding="utf-8") as err,
        ):
            process = subprocess.Popen(
                self._argv(words),
                env={**os.environ, **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            started = Started(process, Path(out.name), Path(err.name))
            try:
                yield started
            finally:
                started.signal(signal.SIGKILL)
                process.wait()

    def typed(self, *words: str | Path, keys: Mapping[str, str] | None = None) -> Answer:
        """Run a command on a terminal of 100 columns; when ``text`` of ``keys`` appears, type ``keys[text]``, or
        interrupt where that is ``CTRL_C``. All that it shows is stdout."""
        master, slave = pty.openpty()
        environment = {**os.environ, **self._environment(), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        with subprocess.Popen(
            self._argv(words), env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        ) as process:
            os.close(slave)
            try:
                shown = _converse(master, process, dict(keys or {}))
            finally:
                process.kill()
                os.close(master)
        return Answer(process.returncode, shown, "")

    def last_run(self) -> Path:
        """The newest run directory."""
        return (self.runs / "latest").resolve()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind that the newest run directory holds."""
        lines = (self.last_run() / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def _argv(self, words: tuple[str | Path, ...]) -> list[str]:
        return [sys.executable, "-m", "provision", *map(str, words)]

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": str(self.place),
            "QNEXT_STATE": str(self.place),
            "COLUMNS": "160",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**own, **self.environment}


@dataclass(frozen=True, slots=True)
class Started:
    """A command under way."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def ended(self, patience: float = LONGEST) -> Answer:
        """Wait for its end."""
        status = self.process.wait(patience)
        return Answer(status, self.out.read_text(), self.err.read_text())

    def says(self, text: str) -> bool:
        return text in self.out.read_text() + self.err.read_text()


def eventually(holds: Callable[[], object], what: str, *, patience: float = LONGEST, every: float = 0.02) -> None:
    """Wait until ``holds()``; fail, saying ``what`` was waited for, when it takes too long."""
    until = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < until, f"waited {patience:.0f} s in vain until {what}"
        time.sleep(every)


def without_colour(text: str) -> str:
    """``text`` without the codes that a terminal acts on."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """What takes longer than ``LONGEST`` fails, wherever it waits."""

    def ring(number: int, frame: object) -> NoReturn:
        raise AssertionError(f"the command had not ended after {LONGEST:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _status(run: Callable[[], object]) -> int:
    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _converse(master: int, process: subprocess.Popen[bytes], keys: dict[str, str]) -> str:
    shown = b""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # how Linux says that the terminal's other side is closed
            break
        if not data:
            break
        shown += data
        for text in [text for text in keys if text.encode() in shown]:
            answer = keys.pop(text)
            if answer == CTRL_C:
                os.killpg(process.pid, signal.SIGINT)
            else:
                os.write(master, answer.encode() + b"\n")
    return shown.decode("utf-8", "replace")
