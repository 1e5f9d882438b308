"""The failure catalogue: what lines of a server's log, or of Docker's answer, mean, and what to do about them.

It is data (``catalogue/*.yaml``), read when first asked for, so that a run in which nothing fails never pays for it.
Keys of an entry::

    id         stable name, shown by ``explain``
    title      what happened, in a few words
    signature  regular expression, searched in one line
    role       cause (default): may be the first cause
               end: a process was ended by force: the first cause where it had no error of its own before
               symptom: mostly follows a failure of another process; the first cause only where there is no better
               consequence: says only that something above it went wrong; never the first cause
               complaint: says that another process fails; the first cause only where no process tells anything else
               noise: looks like an error and is none
    fatal      true: a start-up with such a line will not succeed, whatever the process still does
    quiet      true: counts in lines of level INFO and DEBUG too
    scope      where the remedy applies: node, device, cluster, config, image, model, client
    runbook    what treats it in full: a name in ``runbooks.yaml``; "" where the remedy says all
    evidence   what else to fetch before judging; where an entry names nothing, what its runbook starts with
    gate       a faster expression that every line of the signature matches too: tried first, where the signature has
               no plain text to look for
    cause, remedy, source

A signature may name a group ``code`` (or ``hccl``, ``drv``: numbers that mean something only with their kind; a digit
behind tells several groups apart). Then title, cause and remedy may speak of it: ``{code}``, ``{name}``, ``{meaning}``
and ``{remedy}`` are what ``codes`` knows of the code that the line holds, so that one entry tells of each code of a
family by its own name. Any other group, ``host`` say, may be spoken of as it stands in the line: ``{host}``.

Where several entries match a line, the order of files and entries decides: the special ones stand first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from provision.diagnose import codes
from provision.diagnose.logline import CALM, parse
from provision.diagnose.triggers import pieces, triggers

Role = Literal["cause", "end", "symptom", "consequence", "complaint", "noise"]

_FOLDER = Path(__file__).parent / "catalogue"
_FILES = ("hccl", "build", "models", "npu", "groups", "vllm", "cann", "kernel", "host")
_NOT_SHOWN = ("no code", "", "the line does not tell why", "read the lines around it")

_ORDER: tuple[Role, ...] = ("noise", "cause", "end", "complaint", "symptom", "consequence")


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
    evidence: tuple[str, ...] = ()
    runbook: str = ""
    gate: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """What an exit status says by itself. ``stopped``: somebody ended the process, it did not fail on its own. NAME in
    the ``remedy`` stands for the container's name."""

    status: int
    title: str
    cause: str
    remedy: str
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Runbook:
    """What is done about a kind of failure as a whole. ``evidence``: what to fetch first."""

    name: str
    title: str
    evidence: tuple[str, ...]


@cache
def entries() -> tuple[Entry, ...]:
    """All entries, in the order in which they are tried."""
    return tuple(_entry(raw) for name in _FILES for raw in _load(name))


@cache
def runbooks() -> dict[str, Runbook]:
    """The runbooks that entries name."""
    return {raw["name"]: Runbook(raw["name"], raw["title"], tuple(raw["evidence"])) for raw in _load("runbooks")}


def named(name: str) -> Entry | None:
    """The entry of this id."""
    return next((known for known in entries() if known.id == name), None)


def without_code(entry: Entry) -> Entry:
    """An entry whose words speak of no code: for telling of it where there is no line."""
    if not entry.signature.groupindex:
        return entry
    return _filled(entry, "CODE", "NAME", "what it means", "`qnext-provision explain CODE` says what to do")


def match(line: str, *, calm: bool = False) -> Entry | None:
    """What a line means: noise before causes, causes before complaints, these before symptoms, and then consequences.

    ``calm``: the line is of level INFO or DEBUG, so only what such lines can tell counts.
    """
    found = [entry for entry in _tried(line, calm) if entry.signature.search(line)]
    best = min(found, key=lambda entry: _ORDER.index(entry.role), default=None)
    return _told_of_code(best, line) if best and best.signature.groupindex else best


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


def _tried(line: str, calm: bool) -> Iterable[Entry]:
    """The entries that a line may match, in their order: those with a trigger in it, and those that have none."""
    if calm:
        return _quiet()
    table, gates = _table()
    known, places = entries(), {place for piece in table.keys() & pieces(line) for place in table[piece]}
    for gate, behind in gates.items():
        if gate.search(line):
            places.update(behind)
    return [known[place] for place in sorted(places)]


@cache
def _quiet() -> tuple[Entry, ...]:
    """The entries that count in calm lines: so few that trying them all is faster than taking a line to pieces."""
    return tuple(entry for entry in entries() if entry.quiet)


@cache
def _table() -> tuple[dict[str, list[int]], dict[re.Pattern[str], list[int]]]:
    """The places of entries by trigger; of those that have none, by their gate (an empty one lets every line in)."""
    table: dict[str, list[int]] = {}
    gates: dict[re.Pattern[str], list[int]] = {}
    for place, entry in enumerate(entries()):
        found = triggers(entry.signature.pattern)
        if found is None:
            gates.setdefault(re.compile(entry.gate), []).append(place)
        for piece in found or ():
            table.setdefault(piece, []).append(place)
    return table, gates


def _told_of_code(entry: Entry, line: str) -> Entry:
    """The entry, told of the code that the line holds."""
    found = entry.signature.search(line)
    told = {kind.rstrip("0123456789"): text for kind, text in found.groupdict().items() if text} if found else {}
    if told and not told.keys() & _CODED:
        return _with_words(entry, tuple(told.items()))
    kind, text = next(iter(told.items()), ("", ""))
    known = codes.lookup(text if kind == "code" or text.startswith("-") else f"{kind}-{text}")
    return _with_code(entry, known)


_CODED = {"code", "hccl", "drv"}


@lru_cache(maxsize=256)
def _with_words(entry: Entry, words: tuple[tuple[str, str], ...]) -> Entry:
    """An entry whose words speak of what the line says."""
    return _filled(entry, *_NOT_SHOWN, words)


@cache
def _with_code(entry: Entry, code: codes.Code | None) -> Entry:
    """An entry whose words speak of a code, or of one that the line does not show."""
    shown = (code.shown, code.name, code.meaning, code.remedy) if code else _NOT_SHOWN
    return _filled(entry, *shown)


class _Words(dict[str, str]):
    """What texts may speak of; of what is not known they say what it would be."""

    def __missing__(self, key: str) -> str:
        return key.upper()


def _filled(
    entry: Entry, code: str, name: str, meaning: str, remedy: str, words: tuple[tuple[str, str], ...] = ()
) -> Entry:
    told = _Words({"code": code, "name": name, "meaning": meaning, "remedy": remedy}, **dict(words))
    texts = (" ".join(text.format_map(told).split()) for text in (entry.title, entry.cause, entry.remedy))
    title, cause, remedy = (text.replace(" :", ":") for text in texts)
    return replace(entry, title=title, cause=cause, remedy=remedy)


@cache
def _exits() -> dict[int, Exit]:
    known = [Exit(**raw) for raw in _load("exits")]
    return {known_exit.status: known_exit for known_exit in known}


def _entry(raw: dict[str, Any]) -> Entry:
    runbook = str(raw.get("runbook", ""))
    evidence = tuple(raw.get("evidence", runbooks()[runbook].evidence if runbook else ()))
    return Entry(**{**raw, "signature": re.compile(str(raw["signature"])), "evidence": evidence})


def _load(name: str) -> list[dict[str, Any]]:
    """A file of the catalogue, as YAML has it; the dataclasses made of it check the keys."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: list[dict[str, Any]] = yaml.load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), loader)
    return loaded
