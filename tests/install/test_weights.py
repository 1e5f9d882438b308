"""What a node has of a manifest, and the scripts that read, remember and copy."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.facts.weights import Held, Verified, VerifiedValue
from provision.install.manifest import File, Manifest
from provision.install.weights import (
    Hashing,
    bandwidth,
    copy_script,
    hash_listed,
    hash_local,
    hash_script,
    judged,
    keeps,
    kept,
    list_path,
    list_text,
    local_manifest,
    remember_script,
    shared,
    size_text,
)
from provision.inventory.model import Settings
from provision.results import Result

SUMS = {name: hashlib.sha256(name.encode()).hexdigest() for name in "abcd"}
MANIFEST = Manifest.of(File(name, 10, sum) for name, sum in SUMS.items())


def settings(**more: object) -> Settings:
    base = {"cluster": "c", "hardware": "cpu", "install": {"image": "i:1"}, "model": {"path": "/mnt/nfs/m"}}
    return Settings.model_validate(base | more)


def run(script: str) -> str:
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    return done.stdout


def look(folder: Path, home: Path) -> VerifiedValue:
    fact = Verified(str(folder), str(home))
    return fact.parse(Result("weights", 0, run(fact.script())))


def make(folder: Path) -> Manifest:
    folder.mkdir()
    for path, content in {"a.safetensors": b"abc", "with space.json": b"{}", "sub/b.txt": b"x"}.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return hash_local(folder, local_manifest(folder))


def test_files_are_verified_unsure_or_wrong() -> None:
    value = VerifiedValue("/m", True, files=(Held("a", 10, SUMS["a"]), Held("b", 10), Held("c", 9), Held("x", 1)))

    found = judged(MANIFEST, value)

    assert [file.path for file in found.verified] == ["a"]
    assert [file.path for file in found.unsure] == ["b"]
    assert found.bad == {"c", "d"}
    assert found.reasons == ("c has 9 of 10 bytes", "d is missing")
    assert found.extra == ("x",)
    assert [file.path for file in judged(MANIFEST, value, rehash=True).unsure] == ["a", "b"]


def test_another_content_is_wrong_and_says_so() -> None:
    found = judged(MANIFEST, VerifiedValue("/m", True, files=(Held("a", 10, SUMS["b"]),)))
    assert found.reasons[0] == f"a has SHA-256 {SUMS['b'][:12]}…, not {SUMS['a'][:12]}…"


@pytest.mark.parametrize("way", ["inline", "listed"])
def test_what_was_read_is_remembered_and_judged(tmp_path: Path, way: str) -> None:
    folder, home = tmp_path / "m", tmp_path / "home"
    manifest = make(folder)
    (folder / ".qnext-verified").unlink()
    assert len(judged(manifest, look(folder, home)).unsure) == 3
    home.mkdir()
    Path(list_path(str(home))).write_text(list_text(manifest.files))

    script = (
        hash_listed(str(folder), str(home)) if way == "listed" else hash_script(str(folder), manifest.files, str(home))
    )
    said = run(script)

    assert Hashing(manifest.size)(said).fraction == 1.0
    assert judged(manifest, look(folder, home)).good == {"a.safetensors", "with space.json", "sub/b.txt"}
    run(script)
    assert len((folder / ".qnext-verified").read_text().splitlines()) == 3, "a line a file, however often it is read"


def test_a_file_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    manifest = make(tmp_path / "m")
    (tmp_path / "m/a.safetensors").unlink()
    assert "a.safetensors" not in run(hash_script(str(tmp_path / "m"), manifest.files, str(tmp_path / "home")))


def test_copies_are_whole_and_remembered_ones_are_not_read(tmp_path: Path) -> None:
    folder, home, target = tmp_path / "m", tmp_path / "home", tmp_path / "t"
    manifest = make(folder)
    home.mkdir()
    Path(list_path(str(home))).write_text(list_text(manifest.files))

    run(copy_script(str(folder), str(target), str(home)))
    run(remember_script(str(target), manifest.files, str(home)))

    assert judged(manifest, look(target, home)).good == {file.path for file in manifest.files}
    assert not list(target.rglob("*.part"))


def test_a_folder_here_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    manifest = make(tmp_path / "m")
    assert manifest.proven
    assert local_manifest(tmp_path / "m") == manifest
    with pytest.raises(UsageError, match="is no folder here"):
        local_manifest(tmp_path / "none")


def test_a_manifest_that_cannot_be_read_is_none() -> None:
    assert kept(VerifiedValue("/m", manifest="{")) is None
    assert kept(VerifiedValue("/m", manifest=MANIFEST.text())) == MANIFEST


def test_places() -> None:
    assert keeps(VerifiedValue("/m", True, writable=True), settings(), "/m") == "/m/.qnext-manifest.json"
    assert keeps(VerifiedValue("/m", True), settings(), "/m").startswith("/var/lib/qnext/c/weights/")
    assert shared(settings(shared_folders=["/mnt/nfs"]))
    assert not shared(settings(shared_folders=["/mnt/n"]))
    assert not shared(settings())


@pytest.mark.parametrize(("text", "bytes_"), [(None, 0), ("200m", 200 * 1024**2), ("1g", 1024**3), ("5k", 5120)])
def test_bandwidth(text: str | None, bytes_: int) -> None:
    assert bandwidth(text) == bytes_


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (1500, "1.5 kB"), (163e9, "163.0 GB"), (3_000_000, "3.0 MB")]
)
def test_sizes_in_words(count: float, text: str) -> None:
    assert size_text(count) == text
