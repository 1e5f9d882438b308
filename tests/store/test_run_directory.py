"""The record of a run on the controller's disk."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.events import CommandRan, Event, Kept, Note, RunEnded
from provision.inventory.model import Connection, Host, Inventory, Settings
from provision.store import run_directory
from provision.store.run_directory import RunDirectory, state_folder

RAN = CommandRan(
    node="atlas-1",
    label="look",
    script="ls /\n",
    exit=2,
    stdout="bin\n",
    stderr="no such file\n",
    seconds=0.25,
    at=1700000000.0,
)


def inventory() -> Inventory:
    settings = Settings.model_validate(
        {"cluster": "prod", "hardware": "cpu", "install": {"image": "r/i:1"}, "model": {"path": "/m"}}
    )
    return Inventory("c.yaml", (Host("atlas-1", 0, (), Connection(), settings),), {}, digest="abc")


def made(base: Path, *events: Event) -> RunDirectory:
    directory = RunDirectory.create("up", inventory(), base=base, argv=["qnext-provision", "up"])
    for event in events:
        directory.handle(event)
    return directory


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_all_that_happened_is_there_before_anything_is_closed(tmp_path: Path) -> None:
    directory = made(tmp_path, RAN, Kept(node="atlas-1", name="head.log", text="started\n"), Note(text="hello"))
    events = [json.loads(line)["event"] for line in (directory.path / "events.jsonl").read_text().splitlines()]
    assert events == ["command_ran", "kept", "note"]
    assert (directory.path / "commands/atlas-1.log").read_text() == (
        "=== 2023-11-14T22:13:20Z exec look: exit 2, 0.250 s\n"
        "--- script\nls /\n--- stdout\nbin\n--- stderr\nno such file\n"
    )
    assert (directory.path / "logs/atlas-1/head.log").read_text() == "started\n"
    record = json.loads((directory.path / "run.json").read_text())
    assert (record["command"], record["digest"], record["cluster"], record["nodes"]) == (
        "up",
        "abc",
        "prod",
        ["atlas-1"],
    )
    assert "exit_code" not in record
    directory.close()


def test_the_end_is_recorded(tmp_path: Path) -> None:
    directory = made(
        tmp_path, RunEnded(exit_code=4, seconds=2.0, summary="a cannot be reached", facts={"endpoint": "x"})
    )
    directory.close()
    record = json.loads((directory.path / "run.json").read_text())
    assert (record["exit_code"], record["summary"], record["result"]) == (4, "a cannot be reached", {"endpoint": "x"})
    assert not (directory.path / "run.json.new").exists()


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = made(tmp_path / "base", RAN, Kept(node="atlas-1", name="x", text=""))
    finally:
        os.umask(before)
    directory.close()
    assert {
        mode(path) for path in [tmp_path / "base", directory.path, *directory.path.rglob("*")] if path.is_dir()
    } == {0o700}
    assert {mode(path) for path in directory.path.rglob("*") if path.is_file()} == {0o600}


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/b", "..", ".", ""])
def test_no_name_leads_out_of_it(tmp_path: Path, name: str) -> None:
    directory = made(
        tmp_path / "base", Kept(node=name, name=name, text="t"), CommandRan(**{**_fields(RAN), "node": name})
    )
    directory.close()
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and directory.path not in path.parents]
    assert outside == []
    assert sum(1 for path in directory.path.rglob("*") if path.is_file()) == 4


def _fields(event: CommandRan) -> dict[str, object]:
    return {name: getattr(event, name) for name in ("label", "script", "exit", "stdout", "stderr", "seconds", "at")}


def test_latest_names_the_newest_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_directory, "KEEP", 3)
    (tmp_path / "mine").mkdir()
    for number in range(5):
        monkeypatch.setattr(run_directory.clock, "now", lambda number=number: 1700000000.0 + number)
        last = made(tmp_path)
        last.close()
    assert (tmp_path / "latest").resolve() == last.path
    runs = sorted(path.name for path in tmp_path.iterdir() if path.name not in ("latest", "mine"))
    assert [name[:16] for name in runs] == ["20231114T221322Z", "20231114T221323Z", "20231114T221324Z"]
    assert runs[-1] == f"20231114T221324Z-up-{last.run}"
    assert (tmp_path / "mine").is_dir()


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QNEXT_STATE", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local/state/qnext-provision/runs"
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert state_folder() == Path("/x/qnext-provision/runs")
    monkeypatch.setenv("QNEXT_STATE", "/q")
    assert state_folder() == Path("/q/runs")


def test_a_place_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        RunDirectory.create("up", None, base=tmp_path / "file" / "runs")
    assert "QNEXT_STATE" in caught.value.hint
