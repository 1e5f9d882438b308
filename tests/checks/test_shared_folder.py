"""The scripts on real folders: one that is shared, and one that is not."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from provision import registry
from provision.actions import On, Run
from provision.checks import shared_folder
from provision.results import Result
from tests.checks.trying import Answer, summaries, tried
from tests.checks.world import pair, settings


def on(heads: Path, others: Path) -> Answer:
    """Run the scripts; what the second node calls by the head's path is ``others``."""

    def answer(group: On) -> Mapping[str, Result]:
        answers = {}
        for name, action in group.actions.items():
            assert isinstance(action, Run)
            script = action.script if name == "atlas-1" else action.script.replace(str(heads), str(others))
            done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)
            answers[name] = Result(action.label, done.returncode, done.stdout, done.stderr)
        return answers

    return answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "shared by all"
    made.mkdir()
    return made


def test_what_the_head_writes_is_seen_and_removed(folder: Path) -> None:
    two = pair(settings(shared_folders=(str(folder),)))
    assert tried(two, "shared_folder", on(folder, folder)).status == "pass"
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_missing_or_cannot_be_written_is_told(folder: Path) -> None:
    two = pair(settings(shared_folders=(str(folder),)))
    outcome = tried(two, "shared_folder", on(folder, folder / "none"))
    assert summaries(outcome) == [f"fail {folder} on atlas-2 does not exist"]
    assert list(folder.iterdir()) == []
    two = pair(settings(shared_folders=(str(folder / "none"),)))
    (text,) = summaries(tried(two, "shared_folder", on(folder, folder)))
    assert text.startswith(f"fail atlas-1 cannot write into the shared folder {folder}/none: ")


def test_the_marker_goes_also_where_the_others_break_off(folder: Path) -> None:
    two = pair(settings(shared_folders=(str(folder),)))
    really = on(folder, folder)

    run = shared_folder.run(shared_folder.Args(), two)
    answers = really(next(run))
    looking = run.send(answers)
    assert list(looking.actions) == ["atlas-2"]
    assert len(list(folder.iterdir())) == 1
    really(run.throw(ConnectionError("gone")))
    assert list(folder.iterdir()) == []


def test_without_shared_folders_it_has_nothing_to_say() -> None:
    assert not registry.check("shared_folder").applies(settings())
