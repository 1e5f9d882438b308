"""Small files and listings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provision.facts.files import LARGEST, Files, Listing


def test_content_and_mode(look: Any, tmp_path: Path) -> None:
    script = tmp_path / "it's $HOME.sh"
    script.write_bytes(b"#!/bin/sh\n@@ 2 644 1\n\x00\xff")
    script.chmod(0o755)
    empty = tmp_path / "empty"
    empty.touch(0o600)
    value = look(Files((str(script), str(tmp_path / "absent"), str(empty), str(tmp_path))))
    assert [(f.exists, f.content, f.mode) for f in value.files] == [
        (True, script.read_bytes(), 0o755),
        (False, None, None),
        (True, b"", 0o600),
        (False, None, None),
    ]
    assert value.of(str(script)).size == len(script.read_bytes())
    assert value.problems == ()


def test_a_large_file_is_reported_only(look: Any, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(LARGEST + 1))
    value = look(Files((str(path),)))
    assert (value.files[0].exists, value.files[0].content) == (True, None)
    assert value.problems == (f"{path}: 262145 bytes are more than is fetched",)


def test_listing(look: Any, tmp_path: Path) -> None:
    folder = tmp_path / "state"
    (folder / "jobs" / "pull").mkdir(parents=True)
    (folder / "jobs" / "pull" / "log").touch()
    (folder / ".lock").touch()
    value = look(Listing(str(folder)))
    assert value.exists
    assert value.entries == (".lock", "jobs/", "jobs/pull/", "jobs/pull/log")


def test_listing_of_nothing(look: Any, tmp_path: Path) -> None:
    assert not look(Listing(str(tmp_path / "nothing"))).exists
