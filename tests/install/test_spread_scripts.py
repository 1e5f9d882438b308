"""The real scripts of a spread, between nodes that are folders here (spreading.py)."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.install import spread
from provision.resources import shipped
from tests.install.spreading import Field

pytestmark = pytest.mark.rehearsal

CHANCE = random.Random(11)
BIG = CHANCE.randbytes((9 << 20) + 17)
CONTENTS = {"a.bin": BIG, "b/c d.json": b"{}\n", "empty": b"", "m.bin": BIG[: 5 << 20]}
SMALL_PART = "b/c d.json.part"
SHELLS = [shell for shell in ("sh", "dash", "bash") if shutil.which(shell)]


@pytest.fixture
def field(tmp_path: Path) -> Field:
    made = Field(tmp_path, CONTENTS)
    made.holder("h")
    return made


@pytest.mark.parametrize("name", ["serve.sh", "fetch.sh", "serve-image.sh", "fetch-image.sh"])
@pytest.mark.parametrize("shell", ["dash", "busybox sh", "bash --posix"])
def test_the_scripts_are_sh(name: str, shell: str) -> None:
    if not shutil.which(shell.split()[0]):
        pytest.skip(f"there is no {shell} here; the others read it")
    subprocess.run([*shell.split(), "-n", shipped("templates") / "install" / name], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_chain_passes_files_on_while_they_come(field: Field, shell: str) -> None:
    field.shell = shell
    field.taker("x", "h")
    field.taker("y", "x", "h")

    field.start("y")
    field.start("x")
    logs = field.ended()

    assert all("all files are here and verified" in log for log in logs), logs
    assert (field.lacks("x"), field.lacks("y")) == ([], [])
    assert [spread.moved(log) for log in logs] == [sum(map(len, CONTENTS.values()))] * 2
    assert not list(field.place.rglob("*.part"))
    assert {path.stat().st_mode & 0o777 for path in field.folder("x").rglob("*")} == {0o644, 0o755}, "others may read"
    assert [(field.plan("x") / name).stat().st_mode & 0o777 for name in (".", "key")] == [0o700, 0o600]
    cached = [line.split(" ", 4) for line in (field.folder("x") / ".qnext-verified").read_text().splitlines()]
    about = (field.folder("x") / "a.bin").stat()
    row = next(row for row in cached if row[4] == "a.bin")
    assert row[1:4] == [
        str(about.st_size),
        f"{about.st_mtime_ns // 10**9}.{about.st_mtime_ns % 10**9:09d}",
        str(about.st_ino),
    ]
    assert {row[0] for row in cached} == {file.sha256 for file in field.listing.files}


def test_a_cut_connection_goes_on_at_its_byte(field: Field) -> None:
    field.taker("x", "h", want=["a.bin"])
    (field.place / "h/cut").write_text("3000000\n")

    log = field.fetch("x")

    assert "? h at h port 22: client_loop: send disconnect: Broken pipe" in log
    assert field.read("x", "a.bin") == BIG
    assert (field.place / "asked").read_text().split() == ["h", "h"]


def test_a_part_of_an_earlier_run_is_gone_on_with(field: Field) -> None:
    field.taker("x", "h", has={"a.bin.part": BIG[: 8 << 20]}, want=["a.bin"])
    (field.place / "h/cut").write_text(f"{(1 << 20) + 17 + 40}\n")

    log = field.fetch("x")

    assert "?" not in log, "the rest was less than what the connection carried"
    assert field.read("x", "a.bin") == BIG


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[5 << 20] ^= 1
    return bytes(changed)


REST = len(BIG) - (8 << 20)


@pytest.mark.parametrize(
    ("spoil", "moved"),
    [
        (flipped, 4 << 20),
        (lambda content: content[: 8 << 20], REST),
        (lambda content: content + b"more", REST),
        (lambda content: content[: len(content) - 1] + b"\0", REST),
    ],
    ids=["a flipped byte", "cut short", "too long", "the last byte"],
)
def test_only_blocks_that_differ_move(field: Field, spoil: Callable[[bytes], bytes], moved: int) -> None:
    field.taker("x", "h", has={**CONTENTS, "a.bin": spoil(BIG)})

    log = field.fetch("x")

    assert f"+ mended({moved}) {len(BIG)} a.bin" in log
    assert (spread.moved(log), field.lacks("x")) == (moved, [])


def test_a_name_that_shares_its_content_is_mended_in_a_copy(field: Field) -> None:
    field.taker("x", "h", has={**CONTENTS, "a.bin": flipped(BIG)})
    (field.place / "other").hardlink_to(field.folder("x") / "a.bin")

    field.fetch("x")

    assert field.lacks("x") == []
    assert (field.place / "other").read_bytes() == flipped(BIG)


def test_a_wrong_content_is_never_taken(field: Field) -> None:
    (field.folder("h") / "m.bin").write_bytes(b"x" * (5 << 20))
    field.taker("x", "h")

    log = field.fetch("x")

    assert field.lacks("x") == ["m.bin"]
    assert "m.bin came three times with a wrong content from h" in spread.trouble(log).cause
    assert "dmesg" in spread.trouble(log).hint


def test_the_next_parent_stands_in(field: Field) -> None:
    field.taker("x", "gone", "h")

    log = field.fetch("x")

    assert "? gone at gone port 22: ssh: connect to host gone port 22: Connection refused" in log
    assert field.lacks("x") == []


def test_nobody_answers(field: Field) -> None:
    field.taker("x", "gone")

    found = spread.trouble(field.fetch("x"))

    assert "gone at gone port 22: ssh: connect to host gone port 22: Connection refused" in found.cause
    assert "spread_port" in found.hint
    assert (field.plan("x") / "failed").exists()


def test_one_who_gave_up_is_not_waited_for(field: Field) -> None:
    field.taker("x", "gone")
    field.fetch("x")
    field.taker("y", "x")

    log = field.fetch("y")

    assert "this node itself could not get" in log


def test_one_whose_job_has_died_is_not_waited_for(field: Field) -> None:
    field.taker("y", "x")
    field.taker("x", "h")
    (field.plan("x") / "alive").write_text("-40\n")

    log = field.fetch("y")

    assert "this node itself could not get" in log
    assert "failed: " in log


def test_a_connection_that_says_nothing_is_cut(field: Field) -> None:
    field.taker("x", "dumb", "h")
    dumb = field.plan("dumb")
    dumb.mkdir(parents=True)
    (dumb / "serve").write_text("exec sleep 60\n")

    log = field.fetch("x", silence=2)

    assert "? nothing came for 2 s" in log
    assert field.lacks("x") == []


@pytest.mark.parametrize("answer", ["= 1esh<x 0 1", "= 1 0 1;id", "= 1 0", "= 1 -1 5", "= 1 0 99999999999", "=", ""])
def test_an_answer_that_is_none_does_no_harm(field: Field, answer: str) -> None:
    field.taker("x", "odd", "h")
    (field.plan("x") / "x").write_text(f"touch {field.place}/harm\n")
    odd = field.plan("odd")
    odd.mkdir(parents=True)
    (odd / "serve").write_text(f"echo '{answer}'; head -c 64 /dev/zero\n")

    field.fetch("x")

    assert field.lacks("x") == []
    assert not (field.place / "harm").exists()


def test_nothing_is_written_through_a_link(field: Field) -> None:
    field.taker("x", "h", has={SMALL_PART: b""})
    (field.place / "victim").write_bytes(b"precious")
    part = field.folder("x") / SMALL_PART
    part.unlink()
    part.symlink_to(field.place / "victim")

    field.fetch("x")

    assert (field.place / "victim").read_bytes() == b"precious"
    assert field.lacks("x") == []


def test_a_part_that_is_longer_than_its_file_is_begun_anew(field: Field) -> None:
    field.taker("x", "h", has={SMALL_PART: b"of another revision"})

    field.fetch("x")

    assert field.lacks("x") == []


def test_a_job_whose_folder_is_taken_away_has_not_succeeded(field: Field) -> None:
    field.taker("x", "h")
    (field.plan("x") / "want").unlink()

    assert "was taken away meanwhile" in field.fetch("x")


def test_what_was_verified_before_is_not_fetched_again(field: Field) -> None:
    field.taker("x", "h")
    field.fetch("x")
    (field.place / "asked").unlink()

    field.taker("x", "h", want=list(CONTENTS))
    log = field.fetch("x")

    assert "all files are here and verified" in log
    assert not (field.place / "asked").exists()


def test_a_rate_is_kept(field: Field) -> None:
    script = spread.serve_script(str(field.folder("h")), str(field.plan("h")), field.listing, rate=20_000_000)
    number = field.listing.numbers(["a.bin"])[0]

    done = subprocess.run(
        ["sh", "-c", 'date +%s%N; sh -c "$1" <"$2" | wc -c; date +%s%N', "x", script, requests(field, number)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    before, size, after = (int(word) for word in done.stdout.split())
    assert size >= len(BIG)
    assert 0.3 < (after - before) / 1e9 < 3, "9.4 MB at 20 MB a second"


def requests(field: Field, number: int) -> str:
    path = field.place / "requests"
    path.write_text(f"list {field.listing.digest}\nfile {number} 0\n")
    return str(path)


@pytest.mark.parametrize(
    "asked",
    ["", "list x\nfile 1 0\n", "file 1 0\n", "list {}\nfile ../../etc/passwd 0\n", "list {}\nfile 99 0\n",
     "list {}\nfile 1 99999999\n", "list {}\nexec 1 0\n", "list {}\nblock 1 999\n", "list {}\nfile 1 0;id\n"],
)  # fmt: skip
def test_nothing_but_the_files_of_the_list_is_given(field: Field, asked: str) -> None:
    script = spread.serve_script(str(field.folder("h")), str(field.plan("h")), field.listing)

    done = subprocess.run(
        ["sh", "-c", script], input=asked.format(field.listing.digest).encode(), capture_output=True, check=False
    )

    assert done.stdout[:2] == (b"! " if asked else b"")
    assert len(done.stdout) < 200


def test_no_room_is_said_before(field: Field) -> None:
    (field.place / "bin/df").write_text("#!/bin/sh\necho Filesystem; echo /dev/sda1 100 50 70000 99% /\n")
    (field.place / "bin/df").chmod(0o755)

    assert field.taker("x", "h") == f"room: {sum(map(len, CONTENTS.values()))} of {70000 * 1024}\n"
    assert field.taker("y", "h", want=["m.bin"], has={"m.bin.part": b"x" * (5 << 20)}) == "", "what is there counts"
