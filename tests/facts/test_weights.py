"""Which files of a folder have which checksum, by what is remembered: the probe runs in a real shell."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.weights import Held, Verified, VerifiedValue
from provision.results import Result

SUM = hashlib.sha256(b"abc").hexdigest()


def look(folder: Path, home: Path | None = None) -> VerifiedValue:
    fact = Verified(str(folder), str(home or ""))
    done = subprocess.run(["sh"], input=fact.script(), capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    return fact.parse(Result("weights", done.returncode, done.stdout, done.stderr))


def stamp(path: Path) -> str:
    done = subprocess.run(["stat", "-L", "-c", "%s %.9Y %i", str(path)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "a b.safetensors").write_bytes(b"abc")
    (folder / "config.json").write_bytes(b"{}")
    (folder / ".hidden").write_bytes(b"x")
    (folder / ".cache").mkdir()
    (folder / ".cache/lock").write_bytes(b"x")
    (folder / "sub").mkdir()
    (folder / "sub/c.safetensors.part").write_bytes(b"12345")
    return folder


def test_nothing_is_known_of_files_that_nobody_read(tmp_path: Path) -> None:
    value = look(make(tmp_path / "m"))

    assert value.exists
    assert value.writable
    assert value.files == (Held("a b.safetensors", 3), Held("config.json", 2))
    assert value.partial == (("sub/c.safetensors", 5),)
    assert value.manifest == ""


def test_a_checksum_holds_until_size_time_or_inode_change(tmp_path: Path) -> None:
    folder = make(tmp_path / "m")
    file = folder / "a b.safetensors"
    old = "0" * 64
    (folder / ".qnext-verified").write_text(
        f"{old} {stamp(file)} a b.safetensors\n{SUM} {stamp(file)} a b.safetensors\n"
    )
    assert look(folder).held["a b.safetensors"].sha256 == SUM

    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    assert look(folder).held["a b.safetensors"].sha256 == ""


def test_what_is_kept_in_another_folder_counts_where_this_one_has_nothing(tmp_path: Path) -> None:
    folder, home = make(tmp_path / "m"), tmp_path / "home"
    home.mkdir()
    (home / ".qnext-verified").write_text(f"{SUM} {stamp(folder / 'a b.safetensors')} a b.safetensors\n")
    (home / ".qnext-manifest.json").write_text("kept\n")

    value = look(folder, home)

    assert value.held["a b.safetensors"].sha256 == SUM
    assert value.manifest == "kept"


def test_of_a_cache_the_snapshot_that_main_names(tmp_path: Path) -> None:
    place = tmp_path / "models--org--name"
    for name in ("new", "old"):
        make(place / "snapshots" / name)
    (place / "refs").mkdir()
    (place / "refs/main").write_text("old")
    (place / "snapshots/old/linked.json").symlink_to("config.json")

    value = look(place)

    assert (value.snapshot, value.ref) == ("old", "old")
    assert value.path == f"{place}/snapshots/old"
    assert Held("linked.json", 2) in value.files


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert not look(tmp_path / "none").exists


@pytest.mark.parametrize(
    "text", ["", "@@ folder\n", "@@ folder\n@@ files\nx y z\n1 2 3\n-1 2 3 4\n@@ known\na b c d e\n"]
)
def test_what_cannot_be_read_is_nothing(text: str) -> None:
    Verified("/m").parse(Result("weights", 0, text))


@given(st.binary(max_size=300))
def test_no_answer_breaks_the_parser(raw: bytes) -> None:
    Verified("/m").parse(Result("weights", 1, "@@ folder\n@@ known\n" + raw.decode("utf-8", "surrogateescape")))
