"""The record of a run: everything that happened, on the controller's disk, written as it happens.

::

    <state>/runs/20260131T101500Z-up-3fa9c1/
        run.json              command, inventory and its digest, versions; at the end also the result
        events.jsonl          every event
        commands/<node>.log   every command: what was sent, what came back, how long it took
        logs/<node>/<name>    evidence that modules kept: a container's log, say
        durations.json        how long the phases of a start took, where the run has seen a whole one
    <state>/runs/latest -> the last one

A killed controller loses nothing that was written: files are appended line by line. The folder is for its owner alone
(0700), and secrets are masked before anything gets here. ``<state>`` is ``$QNEXT_STATE``, else
``$XDG_STATE_HOME/qnext-provision``, else ``~/.local/state/qnext-provision``.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import gmtime, strftime
from typing import TYPE_CHECKING, TextIO

from provision import __version__, clock
from provision.errors import UsageError
from provision.events import CommandRan, Event, Kept, RunEnded, StartMeasured
from provision.secrets import redact_data
from provision.store.durations import FILE
from provision.store.journal import as_json

if TYPE_CHECKING:
    from provision.inventory.model import Inventory

KEEP = 100
"""Runs that are kept; older ones go when a new one begins."""
_NAME = re.compile(r"\d{8}T\d{6}Z-.+-[0-9a-f]{6}\Z")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")


def state_folder() -> Path:
    """Where runs are recorded, unless the caller says otherwise."""
    if given := os.environ.get("QNEXT_STATE"):
        return Path(given) / "runs"
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "qnext-provision" / "runs"


class RunDirectory:
    """One run's folder, as a sink. ``run`` is its short id, ``path`` the folder."""

    def __init__(self, path: Path, run: str, record: dict[str, object]) -> None:
        self.path = path
        self.run = run
        self._record = record
        self._events = _appending(path / "events.jsonl")
        self._commands: dict[str, TextIO] = {}
        self._write_record()

    @classmethod
    def create(
        cls, command: str, inventory: Inventory | None, *, base: Path | None = None, argv: Sequence[str] = ()
    ) -> RunDirectory:
        """Make the folder of a new run, and drop the oldest. Raises ``UsageError`` where it can't be made."""
        base = base or state_folder()
        run = secrets.token_hex(3)
        started = clock.now()
        path = base / f"{strftime('%Y%m%dT%H%M%SZ', gmtime(started))}-{_fit(command)}-{run}"
        try:
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.mkdir(mode=0o700)
            made = cls(path, run, _described(command, inventory, argv, started))
        except OSError as error:
            hint = "QNEXT_STATE=/a/folder/you/may/write names another place"
            raise UsageError(f"the run can't be recorded in {base}: {error.strerror}", hint=hint) from error
        _point(base / "latest", path)
        _prune(base)
        return made

    def handle(self, event: Event) -> None:
        self._events.write(as_json(event) + "\n")
        if isinstance(event, CommandRan):
            self._log(event)
        elif isinstance(event, Kept):
            self._keep(event)
        elif isinstance(event, StartMeasured):
            self._measured(event)
        elif isinstance(event, RunEnded):
            self._end(event)

    def close(self) -> None:
        self._events.close()
        for file in self._commands.values():
            file.close()

    def _log(self, event: CommandRan) -> None:
        if event.node not in self._commands:
            folder = self._folder("commands")
            self._commands[event.node] = _appending(folder / f"{_fit(event.node) or 'cluster'}.log")
        self._commands[event.node].write(as_log(event))

    def _keep(self, event: Kept) -> None:
        folder = self._folder("logs", _fit(event.node) or "cluster")
        with _opened(folder / (_fit(event.name) or "text"), "w") as file:
            file.write(event.text)

    def _measured(self, event: StartMeasured) -> None:
        with _opened(self.path / FILE, "w") as file:
            json.dump({"cluster": event.cluster, "launch": event.launch, "durations": event.durations}, file)

    def _folder(self, *names: str) -> Path:
        """A folder of the run, one level at a time: ``mkdir(parents=True)`` gives parents the umask's mode."""
        folder = self.path
        for name in names:
            folder /= name
            folder.mkdir(exist_ok=True, mode=0o700)
        return folder

    def _end(self, event: RunEnded) -> None:
        self._record |= {
            "exit_code": event.exit_code,
            "seconds": round(event.seconds, 3),
            "summary": event.summary,
            "result": event.facts,
            "phases": event.phases,
            "counts": event.counts,
        }
        self._write_record()

    def _write_record(self) -> None:
        """Replace ``run.json`` in one step, so that it is whole whenever the controller dies."""
        new = self.path / "run.json.new"
        with _opened(new, "w") as file:
            json.dump(self._record, file, indent=2, ensure_ascii=False)
            file.write("\n")
        new.replace(self.path / "run.json")


def as_log(event: CommandRan) -> str:
    """A command and its answer, to be read by people and found by ``grep``."""
    when = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(event.at))
    head = f"=== {when} {event.kind} {event.label}: exit {event.exit}, {event.seconds:.3f} s"
    parts = [_indented("script", event.script), _indented("stdout", event.stdout), _indented("stderr", event.stderr)]
    return "\n".join([head, *(part for part in parts if part)]) + "\n"


def _indented(name: str, text: str) -> str:
    text = text.rstrip("\n")
    return f"--- {name}\n{text}" if text else ""


def _described(command: str, inventory: Inventory | None, argv: Sequence[str], started: float) -> dict[str, object]:
    return {
        "command": command,
        "argv": redact_data(list(argv)),
        "started": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(started)),
        "inventory": inventory.path if inventory else "",
        "digest": inventory.digest if inventory else "",
        "cluster": inventory.settings.cluster if inventory and inventory.hosts else "",
        "nodes": [host.name for host in inventory.hosts] if inventory else [],
        "version": __version__,
        "python": platform.python_version(),
        "controller": platform.node(),
        "pid": os.getpid(),
    }


def _fit(text: str) -> str:
    """``text`` as one path component."""
    return _UNFIT.sub("_", text).lstrip(".")[:100]


def _appending(path: Path) -> TextIO:
    return _opened(path, "a")


def _opened(path: Path, mode: str) -> TextIO:
    """A text file that is written line by line and read by its owner only."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode == "a" else os.O_TRUNC)
    return os.fdopen(os.open(path, flags, 0o600), "a" if mode == "a" else "w", 1, "utf-8", "replace")


def _point(link: Path, target: Path) -> None:
    """Let ``latest`` name the newest run; a file system without links does without."""
    new = link.with_name(f".latest-{target.name}")
    with suppress(OSError):
        new.symlink_to(target.name)
        new.replace(link)


def _prune(base: Path) -> None:
    runs = sorted(path for path in base.iterdir() if _NAME.match(path.name))
    for path in runs[:-KEEP]:
        shutil.rmtree(path, ignore_errors=True)
