"""Evidence as a task: an archive in the run directory, and no failure of its own."""

from __future__ import annotations

from pathlib import Path

from provision.modules import evidence
from tests.modules.world import cluster, drive


def test_it_is_kept_in_the_run_directory(tmp_path: Path) -> None:
    two = cluster()
    two.folder = tmp_path
    for node in two.nodes:
        node.texts = ""

    outcome = drive(evidence.run(evidence.Args(), two)).outcome

    assert (tmp_path / "evidence.tar.gz").is_file()
    assert outcome.summary == {"evidence": str(tmp_path / "evidence.tar.gz")}
    assert outcome.next == (f"qnext-provision diagnose {tmp_path}/evidence.tar.gz",)


def test_a_run_that_is_not_recorded_has_no_place_for_it() -> None:
    outcome = drive(evidence.run(evidence.Args(), cluster())).outcome

    assert outcome.skipped
