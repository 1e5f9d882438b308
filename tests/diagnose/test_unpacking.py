"""Files and archives that somebody sent: limits hold, broken ones give what is whole, nothing raises."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from provision.diagnose.unpacking import Limits, in_archive, in_file, is_text, plain
from provision.errors import UsageError

SMALL = Limits(file=100, kept=250, ratio=2, least=1 << 20, files=5)


def archive(path: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def told(path: Path, limits: Limits = SMALL) -> list[tuple[str, bytes, str]]:
    return [(file.path, file.content, file.problem) for file in in_archive(path, limits)]


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", ""])
def test_archives_of_every_form(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.tar{'.' if form else ''}{form}"
    with tarfile.open(path, f"w:{form}") as tar:
        info = tarfile.TarInfo("x/a.log")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"one"))

    assert told(path) == [("x/a.log", b"one", "")]


def test_the_end_of_a_long_file_is_kept_and_said(tmp_path: Path) -> None:
    lines = b"".join(b"line %03d\n" % n for n in range(100))

    [(_, content, problem)] = told(archive(tmp_path / "a.tar.gz", ("a.log", lines)))

    assert content.endswith(b"line 099\n")
    assert content.startswith(b"line 0"), "it begins with a whole line"
    assert len(content) <= 100
    assert "the last" in problem


def test_all_files_together_have_a_limit(tmp_path: Path) -> None:
    files = [(f"{n}.log", b"x" * 99 + b"\n") for n in range(5)]

    read = told(archive(tmp_path / "a.tar.gz", *files), replace(SMALL, kept=400, sure=25, file=60))

    assert sum(len(content) for _, content, _ in read) <= 250
    assert read[-1][1], "the last file has its part too"
    assert read[-1][2], "what was left out is said"


def test_a_long_manifest_is_whole(tmp_path: Path) -> None:
    [(_, content, problem)] = told(archive(tmp_path / "a.tar.gz", ("x/manifest.json", b"{" + b" " * 999)))

    assert (len(content), problem) == (1000, "")


def test_long_logs_are_read_in_little_memory(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", *((f"x/{n}.log", b"line\n" * 4_000_000) for n in range(2)))

    tracemalloc.start()
    held = [len(content) for _, content, _ in told(path, Limits(file=1 << 20))]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held == [(1 << 20) - 1] * 2
    assert most < 12 << 20, "the end of each, and one that is being read"


def test_a_bomb_ends_the_reading(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar.gz", ("small.log", b"ok\n"), ("bomb.log", bytes(4 << 20)), ("after.log", b"no"))

    read = told(path)

    assert read[0] == ("small.log", b"ok\n", "")
    assert "unpacks to more than 1 MiB" in " ".join(problem for *_, problem in read)
    assert "after.log" not in [name for name, *_ in read]


def test_too_many_entries(tmp_path: Path) -> None:
    read = told(archive(tmp_path / "a.tar.gz", *((f"{n}.log", b"") for n in range(9))))

    assert len(read) == SMALL.files + 1
    assert read[-1][2] == "only the first 5 entries were read"


def test_a_broken_archive_gives_what_is_whole(tmp_path: Path) -> None:
    import random

    noise = random.Random(1).randbytes(40_000)
    whole = archive(tmp_path / "a.tar.gz", ("a.log", b"whole\n"), ("b.log", noise.hex().encode())).read_bytes()
    path = tmp_path / "b.tar.gz"
    path.write_bytes(whole[: len(whole) // 2])

    read = told(path, Limits())

    assert read[0] == ("a.log", b"whole\n", "")
    assert "broken" in read[-1][2]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"\x1f\x8b" + b"x" * 50, b"no tar at all\n" * 99])
def test_what_is_no_archive_says_so_and_never_raises(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)

    assert all(problem for *_, problem in told(path))


def test_links_and_devices_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, kind in (
            ("l", tarfile.SYMTYPE),
            ("h", tarfile.LNKTYPE),
            ("d", tarfile.CHRTYPE),
            ("f", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)

    assert told(path) == []


def test_a_packed_log_within_the_archive(tmp_path: Path) -> None:
    assert told(archive(tmp_path / "a.tar.gz", ("d/a.log.gz", gzip.compress(b"inner\n")))) == [
        ("d/a.log", b"inner\n", "")
    ]


def test_zip_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK")

    with pytest.raises(UsageError, match="zip") as caught:
        list(in_archive(path, SMALL))

    assert "unpack" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "path", "shown", "said"),
    [
        (b"plain\n", "a.log", b"plain\n", ""),
        (b"", "a.log", b"", ""),
        (b"x", "a.log", b"x", ""),
        (gzip.compress(b"packed\n"), "a.log.gz", b"packed\n", ""),
        (gzip.compress(b"packed\n"), "stdin", b"packed\n", ""),
        (gzip.compress(b"packed\n" * 3)[:-9], "a.log.gz", b"", "broken"),
    ],
)
def test_single_files(content: bytes, path: str, shown: bytes, said: str) -> None:
    file = in_file(io.BytesIO(content), path, SMALL)

    assert file.content[: len(shown)] == shown
    assert said in file.problem
    assert file.path == path.removesuffix(".gz")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"INFO \x1b[32mgreen\x1b[0m\n", True),
        ("Zähler: 显存不足\n".encode(), True),
        ("wide\n".encode("utf-16"), True),
        (bytes(range(256)) * 4, False),
        (b"\x7fELF\x02\x01\x01" + bytes(60), False),
        (b"log line\n" * 9 + b"\x00", True),
    ],
)
def test_what_is_text(content: bytes, text: bool) -> None:
    assert is_text(content) is text


def test_text_of_any_encoding() -> None:
    shown: Sequence[str] = [plain("é\n".encode("utf-16")), plain(b"\xff\xfebroken"[2:]), plain(b"a\x00b")]

    assert shown == ["é\n", "broken", "ab"]
