"""The archive on disk: no name escapes it, a second call goes on, and what is packed is read again."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.diagnose.archive import Names, NodeRecord, Partial, safe_path
from provision.diagnose.manifest import FileEntry
from provision.errors import UsageError

HOSTILE = [
    ("../../etc/passwd", "_/_/etc/passwd"),
    ("/etc/shadow", "etc/shadow"),
    ("a/./b//c", "a/b/c"),
    ("", "_"),
    ("..", "_"),
    ("a\x00b\x1b[31m\n", "a_b_[31m_"),
    ("C:\\Windows", "C__Windows"),
    ("ok/plog-12_20260101.log", "ok/plog-12_20260101.log"),
    ("\u202egnp.exe", "_gnp.exe"),
    ("...", "_"),
]


@pytest.mark.parametrize(("given_name", "made"), HOSTILE)
def test_names_are_made_harmless(given_name: str, made: str) -> None:
    assert safe_path(given_name) == made


@given(st.lists(st.text(st.characters(codec=None), max_size=300) | st.text("./\\a~", max_size=40), max_size=8))
def test_no_two_names_meet_and_none_escapes(names: list[str]) -> None:
    claimed = Names()
    paths = [claimed.claim(name) for name in names]

    folded = [path.casefold() for path in paths]
    assert len(set(folded)) == len(folded)
    for path in paths:
        parts = path.split("/")
        assert path.isprintable() or all(char == " " or char.isprintable() for char in path) or not path.isascii()
        assert not path.startswith("/")
        assert ".." not in parts
        assert "." not in parts
        assert "" not in parts
        assert all(len(part.encode()) <= 130 for part in parts)
        assert len(parts) <= 13
        assert not any(other != path and other.casefold().startswith(path.casefold() + "/") for other in paths)


def test_long_names_stay_apart() -> None:
    first, second = safe_path("x" * 300 + "1" + "y" * 300), safe_path("x" * 300 + "2" + "y" * 300)

    assert first != second
    assert len(first) <= 120


def test_a_second_call_goes_on(tmp_path: Path) -> None:
    target = tmp_path / "case.tar.gz"
    first = Partial.open(target, "evidence-a")
    first.write("worker-0/head.log", b"text")
    first.keep(NodeRecord("n1", True, (FileEntry("worker-0/head.log", "stdout", "n1", bytes=4),)))
    first.close()

    second = Partial.open(target, "evidence-b")

    assert second.folder == first.folder
    record = second.record("n1")
    assert record is not None
    assert record.complete
    assert record.files[0].path == "worker-0/head.log"
    assert second.record("n2") is None
    second.close()
    assert Partial.open(target, "evidence-c", afresh=True).record("n1") is None


def test_packed_archives_are_the_owners_alone(tmp_path: Path) -> None:
    made = Partial.open(tmp_path / "case.tar.gz", "evidence-a")
    made.write("b/two", b"2")
    made.write("a/one", b"11")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700

    size = made.pack()
    made.remove()

    target = tmp_path / "case.tar.gz"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.stat().st_size == size
    with tarfile.open(target) as archive:
        assert archive.getnames() == ["evidence-a/a/one", "evidence-a/b/two"]
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "case.tar.gz").write_bytes(b"precious")

    with pytest.raises(UsageError, match="not overwritten"):
        Partial.open(tmp_path / "case.tar.gz", "evidence-a")

    with pytest.raises(UsageError, match="No such file"):
        Partial.open(tmp_path / "none" / "case.tar.gz", "evidence-a")


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    made = Partial.open(tmp_path / "case.tar.gz", "evidence-a")
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    (made.folder / "x").symlink_to(outside)

    made.write("x", b"theirs")

    assert outside.read_bytes() == b"mine"
