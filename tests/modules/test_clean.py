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
