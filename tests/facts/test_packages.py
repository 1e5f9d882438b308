"""What is noted on a node: packages of its image, and drivers and CANN that were installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.facts.driver import PackageWork
from provision.facts.packages import InstalledPackages
from provision.results import Result


def test_the_note_of_an_image_and_the_image_that_is_there(look: Any, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    docker = tmp_path / "bin/docker"
    docker.write_text('#!/bin/sh\n[ "$5" = "a:1" ] && echo sha256:ab\n')
    docker.chmod(0o755)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/image-packages").write_text("id sha256:cd\npackage vllm 0.18.0+empty\npackage ray none\nnoise\n")

    found = look(InstalledPackages(str(tmp_path), "a:1"))

    assert (found.id, found.present, found.problems) == ("sha256:cd", "sha256:ab", ())
    assert found.versions == {"vllm": "0.18.0+empty", "ray": "none"}


def test_nothing_is_noted(look: Any, tmp_path: Path) -> None:
    found = look(InstalledPackages(str(tmp_path), "a:1"))

    assert (found.id, found.present, found.versions, found.problems) == ("", "", {}, ())


def test_a_venv_has_its_own_record(look: Any, tmp_path: Path) -> None:
    (tmp_path / "qnext.json").write_text(json.dumps({"id": "sha256:ab", "versions": {"vllm": "0.18.0", "odd": 1}}))

    found = look(InstalledPackages("/nowhere", "qnext/source:ab", str(tmp_path)))

    assert (found.id, found.present, found.versions) == ("sha256:ab", "sha256:ab", {"vllm": "0.18.0"})


def test_what_was_installed_and_waits_for_a_boot(look: Any, tmp_path: Path) -> None:
    (tmp_path / "done-ops").write_text("ab\n")
    waits = tmp_path / "awaits-boot"

    waits.write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
    assert (look(PackageWork(str(tmp_path))).done, look(PackageWork(str(tmp_path))).awaits_boot) == (
        (("ops", "ab"),),
        True,
    )
    waits.write_text("an earlier boot\n")
    assert not look(PackageWork(str(tmp_path))).awaits_boot


@given(st.text(max_size=200))
def test_any_answer_is_read(text: str) -> None:
    for fact in (InstalledPackages("/x", "a"), InstalledPackages("/x", "a", "/venv"), PackageWork()):
        for part in ("note", "venv", "image"):
            assert fact.parse(Result("", 0, f"@@ {part}\n{text}")).problems == ()
