"""Cleaning the state folder, by a real sh."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provision.facts.files import ListingValue
from provision.modules import clean
from tests.modules.world import cluster, drive, settings


def test_no_folder_no_action() -> None:
    node = cluster().nodes[0]
    node.facts["listing"] = ListingValue("/var/lib/qnext/qnext", exists=False)

    assert drive(clean.run(clean.Args(), node)).actions == []


@pytest.mark.parametrize("neighbour", [False, True])
def test_only_this_clusters_files_go(neighbour: bool, tmp_path: Path) -> None:
    state = tmp_path / "it's state"
    (state / "qnext/launch").mkdir(parents=True)
    if neighbour:
        (state / "other").mkdir()
    node = cluster(settings().model_copy(update={"state_dir": str(state)})).nodes[0]
    node.facts["listing"] = ListingValue(f"{state}/qnext", exists=True)

    (action,) = drive(clean.run(clean.Args(), node)).actions
    done = subprocess.run(["sh", "-s"], input=action.script, text=True, check=False, capture_output=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert state.exists() == neighbour
    assert not (state / "qnext").exists()


def test_a_fix_that_cannot_be_taken_back_keeps_the_old_value(tmp_path: Path) -> None:
    fixes = tmp_path / "qnext/fixes"
    fixes.mkdir(parents=True)
    (fixes / "sysctl-x.sh").write_text("exit 3 # the old value is 60\n")
    node = cluster(settings().model_copy(update={"state_dir": str(tmp_path)})).nodes[0]
    node.facts["listing"] = ListingValue(f"{tmp_path}/qnext", exists=True)

    (action,) = drive(clean.run(clean.Args(), node)).actions
    done = subprocess.run(["sh", "-s"], input=action.script, text=True, check=False, capture_output=True)

    assert (done.returncode, f"could not be taken back: {fixes}/sysctl-x.sh" in done.stderr) == (1, True)
    assert (fixes / "sysctl-x.sh").exists()
    assert "remove the script" in action.hint
