"""Bundles: written, read and judged. What is damaged or comes from a stranger is named before anything is used."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.errors import ConfigError, UsageError
from provision.install import packing
from provision.install.bundle import INDEX, SUMS, TOP, Bundle, BundledImage, Contents, differences
from provision.inventory.model import Install, Settings
from tests.checks.world import settings

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
TAG = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
IMAGE = BundledImage("images/servers.tar", TAG, TAG, (OTHER,), DIGEST, "linux/arm64", 1000)
CONTENTS = Contents(
    "2026-11-24T12:00:00Z", "qnext-provision 1", "qnext", "atlas-800-a3", "linux/arm64", (IMAGE,), model="/data/model"
)


@pytest.fixture
def parts(tmp_path: Path) -> packing.Parts:
    work = tmp_path / "work"
    for name, content in (("images/servers.tar", b"layer" * 5000), ("inventory/cluster.yaml", b"all: {}\n")):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)
    for name in ("servers.json", "images/servers.tar.id", "images/router.tar.part"):
        (work / name).write_text("not a part of it")
    weights = tmp_path / "model"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    return packing.parts(work, {"weights/config.json": weights / "config.json"})


@pytest.fixture
def tar(tmp_path: Path, parts: packing.Parts) -> Path:
    packing.write_tar(tmp_path / "prod.tar", CONTENTS, parts)
    return tmp_path / "prod.tar"


@pytest.mark.parametrize("write", [packing.write_tar, packing.write_folder], ids=["tar", "folder"])
def test_what_was_put_in_is_found_and_right(
    write: Callable[..., Contents], tmp_path: Path, parts: packing.Parts
) -> None:
    heard: list[tuple[int, int]] = []
    written = write(tmp_path / "out", CONTENTS, parts, lambda *step: heard.append(step))
    bundle = Bundle.open(tmp_path / "out")
    assert bundle.contents == written
    assert [file.path for file in written.files] == [
        "images/servers.tar",
        "inventory/cluster.yaml",
        "weights/config.json",
    ]
    assert heard[-1] == (written.size, written.size)
    assert b"".join(bundle.slices["images/servers.tar"].pieces()) == b"layer" * 5000
    told: list[tuple[int, int]] = []
    assert bundle.verify(lambda *step: told.append(step)) == []
    assert told[-1] == (written.size, written.size)
    assert [file.path for file in written.below("weights")] == ["config.json"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_it_can_be_verified_by_hand(tar: Path, tmp_path: Path) -> None:
    with tarfile.open(tar) as archive:
        archive.extractall(tmp_path / "by hand", filter="data")
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path / "by hand" / TOP, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b": OK") == 4


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        (b"layerlayer", "images/servers.tar: SHA-256 is"),
        (b"all: {}", "inventory/cluster.yaml: SHA-256 is"),
        (b'"made": "2026', f"{INDEX}: not what {SUMS} says"),
        (b"  images/servers.tar\n", f"{SUMS}: not what {INDEX} says"),
        (b"  bundle.json\n", f"{INDEX}: not what {SUMS} says"),
    ],
)
def test_a_flipped_bit_is_found_and_named(tar: Path, where: bytes, problem: str) -> None:
    content = bytearray(tar.read_bytes())
    content[content.rindex(where) + len(where) - 2] ^= 1
    tar.write_bytes(content)
    (found,) = Bundle.open(tar).verify()
    assert found.startswith(problem)


def test_what_is_missing_or_more_than_listed_is_named(tmp_path: Path, parts: packing.Parts) -> None:
    out = tmp_path / "out"
    packing.write_folder(out, CONTENTS, parts)
    (out / "images/servers.tar").unlink()
    (out / "inventory/cluster.yaml").write_text("longer than it was")
    (out / "extra").touch()
    assert Bundle.open(out).verify() == [
        "images/servers.tar: missing",
        "inventory/cluster.yaml: 18 bytes, not 8",
        f"extra: not listed in {INDEX}",
    ]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_bundle_that_was_cut_off_is_none(tar: Path, share: float) -> None:
    with tarfile.open(tar) as archive:
        end = archive.getmembers()[-1].offset_data
    tar.write_bytes(tar.read_bytes()[: int(end * share)])
    with pytest.raises(ConfigError) as caught:
        Bundle.open(tar)
    assert "cut off" in caught.value.hint


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member(f"{TOP}/../../etc/passwd")],
        [member("/etc/passwd")],
        [member("etc/passwd")],
        [member(f"{TOP}/./x")],
        [member(f"{TOP}/a\nb")],
        [member(f"{TOP}/link", tarfile.SYMTYPE)],
        [member(f"{TOP}/link", tarfile.LNKTYPE)],
        [member(f"{TOP}/device", tarfile.CHRTYPE)],
        [member(f"{TOP}/fifo", tarfile.FIFOTYPE)],
        [member(f"{TOP}/twice"), member(f"{TOP}/twice")],
    ],
)
def test_names_that_lead_out_and_what_is_no_file_are_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w:") as archive:
        for each in members:
            archive.addfile(each, io.BytesIO())
    with pytest.raises(ConfigError) as caught:
        Bundle.open(path)
    assert "do not use it" in caught.value.hint


def test_a_link_in_a_folder_is_refused(tmp_path: Path, parts: packing.Parts) -> None:
    packing.write_folder(tmp_path / "out", CONTENTS, parts)
    (tmp_path / "out/link").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="link is no plain file"):
        Bundle.open(tmp_path / "out")


def test_other_files_are_told_for_what_they_are(tmp_path: Path, tar: Path) -> None:
    packed = tmp_path / "prod.tar.gz"
    packed.write_bytes(gzip.compress(tar.read_bytes()))
    with pytest.raises(ConfigError) as caught:
        Bundle.open(packed)
    assert "gunzip" in caught.value.hint
    with pytest.raises(UsageError, match="No such file"):
        Bundle.open(tmp_path / "none.tar")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match="no whole bundle"):
        Bundle.open(tmp_path / "folder")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2}', '{"format": "1"}', '{"format": 1, "files": [["../x", 1, ""]]}'],
)
def test_an_index_of_another_kind_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(ConfigError):
        Contents.load(text)


def test_an_index_that_names_an_image_it_does_not_hold_is_no_whole_bundle(tmp_path: Path, parts: packing.Parts) -> None:
    image = dataclasses.replace(CONTENTS.images[0], path="images/other.tar")
    packing.write_tar(tmp_path / "odd.tar", dataclasses.replace(CONTENTS, images=(image,)), parts)
    assert Bundle.open(tmp_path / "odd.tar").verify() == [
        "bundle.json: an image without archive, name or id: images/other.tar"
    ]


def test_the_index_survives_its_own_text() -> None:
    assert Contents.load(CONTENTS.text()) == CONTENTS


# ---- does it fit


def wanted(**install: object) -> Settings:
    return settings(install=Install.model_validate({"image": TAG, **install}))


@pytest.mark.parametrize(
    ("own", "found"),
    [
        (wanted(), []),
        (wanted(digest=DIGEST), []),
        (wanted(image=f"mirror.example/vllm-ascend@{DIGEST}"), []),
        (wanted(digest=OTHER), [f"its image has digest {DIGEST}, the inventory pins {OTHER}"]),
        (wanted(image=TAG.replace("18", "23")), [f"its image is {TAG}, the inventory has {TAG.replace('18', '23')}"]),
        (wanted(method="source"), []),
        (
            settings("cpu", install=Install(image=TAG)),
            ["it is for atlas-800-a3, the inventory has cpu"],
        ),
    ],
)
def test_the_image_and_the_hardware_must_be_the_clusters(own: Settings, found: list[str]) -> None:
    contents = Contents("", "", "other-name", "atlas-800-a3", "linux/arm64", (IMAGE,))
    assert differences(contents, own) == found


def test_wheels_and_weights_must_be_the_clusters() -> None:
    own = wanted(method="source")
    contents = Contents("", "", "", "atlas-800-a3", "", source="0123456789ab", model="/data/another")
    first, second = differences(contents, own)
    assert "key 0123456789ab" in first
    assert own.install.source.key in first
    assert second == f"its weights are of /data/another, the inventory has model.path {own.model.path}"


def test_checksums_are_of_what_is_inside(tar: Path) -> None:
    file = Bundle.open(tar).contents.file("images/servers.tar")
    assert file.sha256 == hashlib.sha256(b"layer" * 5000).hexdigest()
