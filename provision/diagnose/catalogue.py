"""The failure catalogue: what lines of a server's log, or of Docker's answer, mean, and what to do about them.

It is data (``catalogue/*.yaml``), read when first asked for, so that a run in which nothing fails never pays for it.
Keys of an entry::

    id         stable name, shown by ``explain``
    title      what happened, in a few words
    signature  regular expression, searched in one line
    role       cause (default): may be the first cause
               symptom: mostly follows a failure of another process; the first cause only where there is no better
               consequence: says only that something above it went wrong; never the first cause
               complaint: says that another process fails; the first cause only where no process tells anything else
               noise: looks like an error and is none
    fatal      true: a start-up with such a line will not succeed, whatever the process still does
    quiet      true: counts in lines of level INFO and DEBUG too
    scope      where the remedy applies: node, device, cluster, config, image, model, client
    cause, remedy, source

Where several entries match a line, the order of files and entries decides: the special ones stand first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from provision.diagnose.logline import CALM, parse

Role = Literal["cause", "symptom", "consequence", "complaint", "noise"]

_FOLDER = Path(__file__).parent / "catalogue"
_FILES = ("hccl", "build", "npu", "groups", "vllm", "host")
_ORDER: tuple[Role, ...] = ("noise", "cause", "complaint", "symptom", "consequence")


@dataclass(frozen=True, slots=True)
class Entry:
    """One known failure; the keys are explained at the top of this file."""

    id: str
    title: str
    signature: re.Pattern[str]
    scope: str
    cause: str
    remedy: str
    source: str
    role: Role = "cause"
    fatal: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """What an exit status says by itself. ``stopped``: somebody ended the process, it did not fail on its own. NAME in
    the ``remedy`` stands for the container's name."""

    status: int
    title: str
    cause: str
    remedy: str
    stopped: bool = False


@cache
def entries() -> tuple[Entry, ...]:
    """All entries, in the order in which they are tried."""
    return tuple(_entry(raw) for name in _FILES for raw in _load(name))


def match(line: str, *, calm: bool = False) -> Entry | None:
    """What a line means: noise before causes, causes before complaints, these before symptoms, and then consequences.

    ``calm``: the line is of level INFO or DEBUG, so only what such lines can tell counts.
    """
    found = [entry for entry in _tried(calm) if entry.signature.search(line)]
    return min(found, key=lambda entry: _ORDER.index(entry.role), default=None)


def explain(text: str) -> Entry | None:
    """What a short text (the stderr of a command, an error body) means: its first cause, else its first other entry."""
    found = [entry for line in text.splitlines() if (entry := match(line)) and entry.role != "noise"]
    return min(found, key=lambda entry: _ORDER.index(entry.role), default=None)


def fatal(log: str) -> Entry | None:
    """The first entry in a log that dooms a start-up: for giving up before a deadline."""
    lines = (line for line in parse(log) if line.level not in (*CALM, "WARNING"))
    return next((entry for line in lines if (entry := match(line.raw)) and entry.fatal), None)


def exit_status(status: int) -> Exit | None:
    """What an exit status means, where it means something by itself."""
    return _exits().get(status)


@cache
def _tried(calm: bool) -> tuple[Entry, ...]:
    """Entries that a line can match. One by one they take a sixth of the time of all in one expression, which has no
    literal prefix that ``re`` could look for."""
    return tuple(entry for entry in entries() if entry.quiet or not calm)


@cache
def _exits() -> dict[int, Exit]:
    known = [Exit(**raw) for raw in _load("exits")]
    return {known_exit.status: known_exit for known_exit in known}


def _entry(raw: dict[str, Any]) -> Entry:
    return Entry(**{**raw, "signature": re.compile(str(raw["signature"]))})


def _load(name: str) -> list[dict[str, Any]]:
    """A file of the catalogue, as YAML has it; the dataclasses made of it check the keys."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: list[dict[str, Any]] = yaml.load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), loader)
    return loaded
