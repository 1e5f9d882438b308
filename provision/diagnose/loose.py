"""Log files from anywhere: which node and process each is of, and what kind, by its path and its text.

Known trees are ascend-fd's (``worker-0/process_log/…``), folders by node, a harness' ``node-0/rank-1.log``, docker's
json files, Kubernetes' ``/var/log/pods``, Ray's sessions; a file may also hold the merged lines of ``logs``, or of
docker compose, and is split again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from provision.diagnose.diagnosis import Source
from provision.diagnose.unpacking import File, plain

_NODE = re.compile(
    r"(?:worker|node|host|server|atlas|master|machine|npu|pod|rank)[-_]?[0-9]+|(?:[0-9]{1,3}[._-]){3}[0-9]{1,3}",
    re.IGNORECASE | re.ASCII,
)
_NODE_FILE = re.compile(
    r"((?:node|host|atlas|machine)[-_]?[0-9]+|(?:[0-9]{1,3}\.){3}[0-9]{1,3})(?:[-_.](.+))?", re.IGNORECASE | re.ASCII
)
_PLACE = re.compile(
    r"\.|logs?|plog|slog|debug|run|security|process_log|device_log|environment_check|dl_log|mindie|tmp|var|ascend|root|"
    r"home|data|outputs?|external_dp_logs|device(-[0-9]+)?|evidence.*|ray|session_.*|containers|pods|lib|docker|host",
    re.IGNORECASE | re.ASCII,
)
"""Folders that say nothing of whose logs are in them."""

_NO_LOG = (".json", ".yaml", ".yml", ".py", ".sh", ".md", ".csv", ".xml", ".html", ".conf", ".toml", ".info", ".j2")
_ENDING = re.compile(r"(?:\.(?:log|out|err|txt|stdout|stderr|gz|[0-9]{1,3}))+\Z", re.ASCII)
_ROTATED = re.compile(r"\.([0-9]{1,3})(?:\.gz)?\Z", re.ASCII)
_PLOG = re.compile(r"\[(?:ERROR|WARNING|INFO|EVENT|DEBUG|TRACE)\] \w+\([0-9]+,[^)]*\): ?[0-9]{4}-", re.ASCII)
_KERNEL = re.compile(r"\[ *[0-9]+\.[0-9]{6}\] |\[[A-Z][a-z]{2} [A-Z][a-z]{2} +[0-9]+ [0-9:]{8} [0-9]{4}\]", re.ASCII)
_NAMES: tuple[tuple[re.Pattern[str], Source], ...] = (
    (re.compile(r"plog-"), "plog"),
    (re.compile(r"device-[0-9]+_"), "device"),
    (re.compile(r"messages|syslog|kern|dmesg"), "kernel"),
    (re.compile(r"journal"), "journal"),
    (re.compile(r"raylet|gcs_server|worker-[0-9a-f]{20}|python-core-|dashboard|monitor\.|runtime_env"), "ray"),
)
_OF_NODE = ("kernel", "journal", "driver")
_DULL = ("stdout", "stderr", "output", "log", "nohup", "0", "")
"""Names of files that say less than the folder does."""

_OURS = re.compile(r"([\w.-]+)/([\w.-]+) *\| ?(.*)", re.DOTALL)
_COMPOSE = re.compile(r"([\w.-]+?) +\| ?(.*)", re.DOTALL)
_CRI = re.compile(r"(\S+T\S+) (?:stdout|stderr) ([FP]) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Loose:
    """A log whose node (may be "") and process are guessed. ``turn``: its place among those that were rotated."""

    path: str
    node: str
    process: str
    kind: Source
    text: str
    cut: bool = False
    turn: int = 0


def named(file: File) -> Iterator[Loose]:
    """The logs in a file; none where it is no log."""
    parts = [part for part in file.path.split("/") if part not in ("", "..")]
    name, folders = (parts[-1] if parts else "log"), parts[:-1]
    if not file.named and (name.lower().endswith(_NO_LOG) or "environment_check" in folders):
        return
    text = _stamped(plain(file.content))
    if merged := list(_split(text)):
        yield from (Loose(file.path, node, process, "stdout", own, file.cut) for node, process, own in merged)
        return
    kind = _kind(name, folders, text)
    node, process = _whose(name, folders)
    own = "" if kind in _OF_NODE else _of_tree(folders) if kind in ("plog", "device") else process
    yield Loose(file.path, node, own, kind, text, file.cut, int(turn[1]) if (turn := _ROTATED.search(name)) else 0)


def texts(found: Sequence[Loose]) -> list[Loose]:
    """The logs with their nodes made sure of by what all paths have in common, CANN's logs given to the process whose
    they are, and rotated parts put together."""
    placed = [replace(one, node=one.node or _odd_folder(one, found)) for one in found]
    return _joined([_owned(one, placed) for one in placed])


def _odd_folder(one: Loose, found: Sequence[Loose]) -> str:
    """The first folder that not all files share, and that is no place where anybody's logs lie."""
    shared = set.intersection(*(set(other.path.split("/")[:-1]) for other in found))
    if len(found) < 2 or one.path.count("/") == 0:
        return ""
    return next((part for part in one.path.split("/")[:-1] if part not in shared and not _PLACE.fullmatch(part)), "")


def _whose(name: str, folders: Sequence[str]) -> tuple[str, str]:
    """Node and process; "" where the path does not tell."""
    node = next((part for part in folders if _NODE.fullmatch(part)), "")
    stem = _ENDING.sub("", name)
    if re.fullmatch(r"[0-9a-f]{64}-json", stem):
        stem = stem[:12]
    if stem.lower() in _DULL:
        telling = [part for part in folders if part != node and not _PLACE.fullmatch(part)]
        stem = telling[-1] if telling else stem or "log"
    if not node and (told := _NODE_FILE.fullmatch(stem)):
        return told[1], told[2] or "server"
    return node, stem


def _kind(name: str, folders: Sequence[str], text: str) -> Source:
    for pattern, kind in _NAMES:
        if pattern.match(name):
            return kind
    if "device_log" in folders or folders[-1:] == ["npu"]:
        return "driver"
    head = list(islice((line for line in text.splitlines()[:200] if line.strip()), 40))
    for pattern, kind in ((_PLOG, "plog"), (_KERNEL, "kernel")):
        if head and sum(bool(pattern.match(line)) for line in head) * 2 > len(head):
            return kind
    return "stdout"


def _of_tree(folders: Sequence[str]) -> str:
    """The process in ``process_log/<process>/debug/plog``; "" where the tree names none."""
    if "process_log" in folders:
        below = folders[folders.index("process_log") + 1 :]
        if below and not _PLACE.fullmatch(below[0]):
            return below[0]
    return ""


def _owned(one: Loose, found: Sequence[Loose]) -> Loose:
    """A log of CANN is of the node's only server where there is but one; else of the process with its number."""
    if one.process or one.kind in _OF_NODE:
        return one
    servers = {other.process for other in found if other.node == one.node and other.kind == "stdout"}
    if len(servers) == 1:
        return replace(one, process=servers.pop())
    number = re.search(r"(?:plog|device)-([0-9]+)", one.path) or re.search(r"\] \w+\(([0-9]+),", one.text)
    return replace(one, process=f"pid{number[1]}" if number else _ENDING.sub("", one.path.rsplit("/", 1)[-1]))


def _joined(found: Iterable[Loose]) -> list[Loose]:
    """``head.log.2``, ``head.log.1`` and ``head.log`` are one log."""
    joined: dict[tuple[str, ...], Loose] = {}
    for one in sorted(found, key=lambda one: -one.turn):
        alone = "" if one.kind == "stdout" else _ROTATED.sub("", one.path)
        key = (one.node, one.process, one.kind, alone)
        before = joined.get(key)
        joined[key] = replace(one, text=f"{before.text.rstrip()}\n{one.text}") if before else one
    return sorted(joined.values(), key=lambda one: one.path)


# ---- what others put before a line


def _stamped(text: str) -> str:
    """The lines of docker's json files and of the CRI's as ``docker logs --timestamps`` gives them."""
    first = text.lstrip()[:200]
    if first.startswith('{"log":'):
        return "".join(_whole(_docker_lines(text)))
    if _CRI.match(first):
        return "".join(_whole(_cri_lines(text)))
    return text


def _docker_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        try:
            said = json.loads(line)
            yield str(said["time"]), str(said["log"])
        except (ValueError, KeyError, TypeError):
            yield "", line + "\n"


def _cri_lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        found = _CRI.match(line)
        yield (found[1], found[3] + ("\n" if found[2] == "F" else "")) if found else ("", line + "\n")


def _whole(pieces: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Long lines come in pieces: the last one ends with a line's end."""
    inside = False
    for time, piece in pieces:
        yield piece if inside or not time else f"{time} {piece}"
        inside = not piece.endswith("\n")


def _split(text: str) -> Iterator[tuple[str, str, str]]:
    """Node, process and text of each that speaks in a merged log; nothing where it is not one."""
    lines = text.splitlines()
    sample = [line for line in lines[:400] if line.strip()][:50]
    for taken in (_of_json, _of_ours, _of_compose):
        if sample and sum(taken(line) is not None for line in sample) * 10 >= len(sample) * 9:
            by_name: dict[tuple[str, str], list[str]] = {}
            for line in lines:
                if told := taken(line):
                    by_name.setdefault(told[:2], []).append(told[2])
            yield from ((node, process, "\n".join(own)) for (node, process), own in by_name.items())
            return


def _of_ours(line: str) -> tuple[str, str, str] | None:
    found = _OURS.match(line)
    return (found[1], found[2], found[3]) if found else None


def _of_compose(line: str) -> tuple[str, str, str] | None:
    found = _COMPOSE.match(line)
    return ("", found[1], found[2]) if found else None


def _of_json(line: str) -> tuple[str, str, str] | None:
    """A line of ``logs --json``."""
    if not line.startswith('{"'):
        return None
    try:
        said = json.loads(line)
        stamp = str(said.get("stamp") or said["time"])
        return str(said["node"]), str(said["process"]), "" if said.get("note") else f"{stamp} {said['text']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
