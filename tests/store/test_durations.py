"""What is usual for a start: the median of the last five of the same launch."""

from __future__ import annotations

import json
from pathlib import Path

from provision.events import StartMeasured
from provision.store.durations import FILE, usual
from provision.store.run_directory import RunDirectory


def start(base: Path, number: int, seconds: float, launch: str = "aa") -> None:
    folder = base / f"2026013{number}T000000Z-up-00000{number}"
    folder.mkdir()
    kept = {"cluster": "c", "launch": launch, "durations": {"head: loading weights": seconds}}
    (folder / FILE).write_text(json.dumps(kept))


def test_the_median_of_the_last_five(tmp_path: Path) -> None:
    for number, seconds in enumerate([900, 10, 30, 20, 200, 25]):
        start(tmp_path, number, seconds)

    assert usual(tmp_path, "aa") == {"head: loading weights": 25}


def test_other_launches_do_not_count(tmp_path: Path) -> None:
    start(tmp_path, 1, 10)
    start(tmp_path, 2, 99, launch="bb")

    assert usual(tmp_path, "aa") == {"head: loading weights": 10}
    assert usual(tmp_path, "cc") == {}
    assert usual(tmp_path / "nowhere", "aa") == {}


def test_broken_files_count_as_none(tmp_path: Path) -> None:
    start(tmp_path, 1, 10)
    for number, text in enumerate(["", "[]", '{"launch": "aa"}', '{"launch": "aa", "durations": {"x": "y"}}'], 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / FILE).write_text(text)

    assert usual(tmp_path, "aa") == {"head: loading weights": 10}


def test_a_run_keeps_what_was_measured(tmp_path: Path) -> None:
    directory = RunDirectory.create("up", None, base=tmp_path)
    directory.handle(StartMeasured(cluster="c", launch="aa", durations={"head: starting": 2.5}))
    directory.close()

    assert usual(tmp_path, "aa") == {"head: starting": 2.5}, "the link to the latest run is not another one"
