"""What `diagnose` makes of a real cluster, asked by its command line, and of an archive of the same."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cli import Program
from .nodes import Node


@dataclass(frozen=True, slots=True)
class Expected:
    """``told``: an expression that the sentence matches. ``proof``: words of the decisive line."""

    node: str
    process: str
    id: str
    told: str
    proof: str


def diagnosed(program: Program, *words: str | Path) -> dict[str, Any]:
    """Ask for a diagnosis of something that failed."""
    answer = program("diagnose", *words, "--json")
    assert answer.exit == 1, answer.text
    assert answer.stdout, answer.text
    found: dict[str, Any] = answer.json()
    return found


def judge(found: dict[str, Any], *one_of: Expected) -> None:
    """It is the right failure on the right node, said in a sentence and proven by a line of that process.

    Several where any of them may come about: which of two that fail alike is first, what a server knows of its end.
    """
    shown = json.dumps(found, indent=1)
    places = {(expected.node, expected.process, expected.id): expected for expected in one_of}
    expected = places.get((found["node"], found["process"], found["id"]), one_of[0])
    assert found["failed"], shown
    assert (found["node"], found["process"], found["id"]) == (expected.node, expected.process, expected.id), shown
    assert re.search(expected.told, found["sentence"]), shown
    assert f"{expected.process} on {expected.node}" in found["sentence"], shown
    proof = [line for line in found["proof"] if expected.proof in line["line"] or expected.proof in line["excerpt"]]
    assert proof, shown
    assert proof[0]["node"] == expected.node, shown
    assert found["remedy"], shown


def same(found: dict[str, Any], other: dict[str, Any]) -> None:
    """Two diagnoses of one failure agree; the clock's measured offset may move a time by a second or two."""
    for key in ("failed", "known", "id", "node", "process", "title"):
        assert found[key] == other[key], (key, found["sentence"], other["sentence"])
    assert _timeless(found["sentence"]) == _timeless(other["sentence"])
    assert all(abs(a - b) <= 2 for a, b in zip(_times(found["sentence"]), _times(other["sentence"]), strict=True))


def _times(sentence: str) -> list[int]:
    """Seconds of the day of each time that a sentence names."""
    found = re.findall(r"(\d\d):(\d\d):(\d\d)", sentence)
    return [int(hours) * 3600 + int(minutes) * 60 + int(seconds) for hours, minutes, seconds in found]


def _timeless(sentence: str) -> str:
    return re.sub(r"\d\d:\d\d:\d\d|[\d.]+ s\b", "T", sentence)


def unpacked(archive: Path, into: Path) -> Path:
    """The one folder that an archive holds."""
    with tarfile.open(archive) as packed:
        packed.extractall(into, filter="data")
    [folder] = into.iterdir()
    return folder


def archive_is_whole(archive: Path, into: Path, nodes: Sequence[Node], logs: dict[str, str]) -> None:
    """An archive of these nodes has what it promises; ``logs``: words of a process's log, by process."""
    folder = unpacked(archive, into)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert not [node["name"] for node in manifest["nodes"] if node["missing"]]
    by_name = {node["name"]: folder / node["folder"] for node in manifest["nodes"]}
    assert sorted(by_name) == [node.name for node in nodes]
    for process in manifest["processes"]:
        text = (by_name[process["node"]] / f"{process['name']}.log").read_text()
        assert logs[process["name"]] in text
        assert (folder / "launch" / process["node"] / f"{process['name']}.sh").exists()
    for there in by_name.values():
        assert list((there / "host").glob("dmesg*"))
    named = {entry["path"]: entry["problem"] for entry in manifest["files"]}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {path for path, problem in named.items() if not problem} <= found
    assert found - {"manifest.json"} <= set(named)
    assert "KEY-----" not in "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
