"""The stream of a node: what its script sends arrives whole, and nothing that a node sends does harm."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.diagnose.frames import BrokenStream, Frames, Header, Omitted, Tar, Trailer, Unpacker
from provision.resources import shipped

LIBRARY = shipped("templates") / "collect" / "collect.sh"


class Heard:
    """What a stream held."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.files: list[tuple[Header, bytes, Trailer | None]] = []
        self.left: list[Omitted] = []
        self._open: Header | None = None
        self._content = b""

    def doing(self, text: str) -> None:
        self.said.append(text)

    def opened(self, header: Header) -> None:
        self._open, self._content = header, b""

    def data(self, content: bytes) -> None:
        self._content += content

    def closed(self, trailer: Trailer | None) -> None:
        assert self._open is not None
        self.files.append((self._open, self._content, trailer))

    def omitted(self, file: Omitted) -> None:
        self.left.append(file)


def heard(pieces: Iterable[bytes]) -> tuple[Heard, Frames]:
    found = Heard()
    frames = Frames(found)
    for piece in pieces:
        frames.feed(piece)
    frames.end()
    return found, frames


def run(script: str, folder: Path, *, shell: str = "dash", gzip: bool = True) -> bytes:
    """What a script with the shipped functions sends, in a shell that knows POSIX only."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: the script is tested with the others")
    text = LIBRARY.read_text() + ("" if gzip else "_z() { cat; }\n") + script + "printf '@done\\n' | _z\n"
    done = subprocess.run([shell], input=text.encode(), capture_output=True, cwd=folder, check=False, timeout=20)
    assert done.stderr == b""
    return done.stdout


@pytest.mark.parametrize("shell", ["dash", "bash", "sh"])
@pytest.mark.parametrize("gzip", [True, False])
def test_files_arrive_as_they_are(tmp_path: Path, shell: str, gzip: bool) -> None:
    contents = {
        "empty": b"",
        "lines": b"one\n two\n\n@end\t0\t0\t0\n\n",
        "no-newline": b"@file\nlast",
        "only-newline": b"\n",
        "binary": bytes(range(256)) * 40,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    stream = run("".join(f"_file driver x/{n} '' 9999999 {n}\n" for n in contents), tmp_path, shell=shell, gzip=gzip)

    found, frames = heard([stream])
    assert {header.path[2:]: content for header, content, _ in found.files} == contents
    assert frames.done


def test_of_a_long_file_the_end_comes_with_its_whole_size(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"0123456789" * 100)

    found, _ = heard([run("_file driver x '' 25 log\n_take state file y p 4 seq seq 1000\n", tmp_path)])

    (_, content, trailer), (header, tail, of_command) = found.files
    assert content == b"5678901234567890123456789"[-25:]
    assert trailer == Trailer(0, trailer.seconds if trailer else 0, 1000, "")
    assert (header.process, header.command, tail) == ("p", "seq", b"000\n")
    assert of_command is not None
    assert of_command.whole == 3893


def test_of_a_folder_the_newest_files_come_and_the_others_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "a b"
    folder.mkdir(parents=True)
    for age, name in enumerate(("new", "middle", "old")):
        (folder / name).write_bytes(name.encode() * 10)
        subprocess.run(["touch", "-d", f"2026-01-{20 - age}", folder / name], check=True)

    found, _ = heard([run("_tree plog process_log '' 100 60 logs\n", tmp_path)])

    assert [(h.path, c) for h, c, _ in found.files] == [
        ("process_log/a b/new", b"new" * 10),
        ("process_log/a b/middle", b"middle" * 5),
    ]
    assert [(o.path, o.whole) for o in found.left] == [("process_log/a b/old", 30)]


def test_names_of_files_spoil_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (folder / "a\n").mkdir(parents=True)
    (folder / "tab\there").write_bytes(b"kept")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "a\n" / "x").write_bytes(b"passed over")
    for number in range(12):
        (folder / f"more-{number}").write_bytes(b"12345")

    found, frames = heard([run(f"_tree plog p q 9 5 {folder}\n_omit plog 'a\tb' '' 0 'why\tso'\n", tmp_path)])

    assert frames.done
    assert {h.path for h, _, _ in found.files} < {"p/tab here", *(f"p/more-{n}" for n in range(12))}
    assert sum(len(content) for _, content, _ in found.files) == 5
    assert [o.problem for o in found.left][-2:] == ["left out: 1 older files", "why so"] or len(found.left) == 12
    assert found.left[-1].path == "a b"
    assert not any("passwd" in h.path or b"root:" in content for h, content, _ in found.files)


def container(tmp_path: Path, **says: str) -> str:
    """A docker that answers questions of ``docker inspect`` by the words in them."""
    cases = "".join(f"*{word}*) printf '%s\\n' '{answer}' ;;\n" for word, answer in says.items())
    tool = tmp_path / "docker"
    tool.write_text(f'#!/bin/sh\ncase "$5" in\n{cases}esac\n')
    tool.chmod(0o755)
    return f"PATH={tmp_path}:$PATH\n"


def reached(tmp_path: Path, prepare: str, path: str) -> str:
    script = f'{prepare}if _reach 0123abcd {path}; then _doing "$_at"; else _doing none; fi\n'
    return heard([run(script, tmp_path)])[0].said[0]


def test_where_an_ended_container_wrote(tmp_path: Path) -> None:
    upper, bound = tmp_path / "upper", tmp_path / "bound"
    (upper / "root/ascend/log").mkdir(parents=True)
    (upper / "data/session_1/logs").mkdir(parents=True)
    (upper / "tmp").mkdir()
    (upper / "tmp/latest").symlink_to("/data/session_1")
    (upper / "out").symlink_to("../../../../../../etc")
    (upper / "host").symlink_to("/etc")
    (bound / "log").mkdir(parents=True)
    docker = container(tmp_path, Pid="0", UpperDir=str(upper))
    within = {path: reached(tmp_path, docker, path) for path in ("root/ascend/log", "tmp/latest/logs", "out", "host")}
    assert within == {
        "root/ascend/log": f"{upper}/root/ascend/log",
        "tmp/latest/logs": f"{upper}/data/session_1/logs",
        "out": "none",
        "host": "none",
    }
    docker = container(tmp_path, Pid="0", Mounts=f"/root/ascend:{bound}", UpperDir=str(upper))
    assert reached(tmp_path, docker, "root/ascend/log") == f"{bound}/log"
    assert reached(tmp_path, docker, "data/session_1") == f"{upper}/data/session_1"


@pytest.mark.parametrize("pid", ["", "<no value>", "1", "99999999"])
def test_a_process_that_is_not_the_containers_is_not_believed(tmp_path: Path, pid: str) -> None:
    assert reached(tmp_path, container(tmp_path, Pid=pid, UpperDir="/"), "etc") == "none"


def test_how_a_command_ended(tmp_path: Path) -> None:
    script = "_f() { echo out; echo err >&2; echo 'why it hangs' >&3; return 7; }\n_take state file x '' 100 told _f\n"

    found, _ = heard([run(script, tmp_path)])

    ((_, content, trailer),) = found.files
    assert (content, trailer) == (b"out\nerr\n", Trailer(7, trailer.seconds if trailer else 0, 8, "it hangs"))


def test_a_tool_that_hangs_costs_its_time_twice_and_is_told(tmp_path: Path) -> None:
    tool = tmp_path / "npu-smi"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    script = (
        f"PATH={tmp_path}:$PATH\n_f() {{ for i in 1 2 3 4; do _ask 0.2 /x/npu-smi info -i $i; done; }}\n"
        "_take state file x '' 999 tools _f\n"
    )

    found, _ = heard([run(script, tmp_path)])

    ((_, content, trailer),) = found.files
    assert content.split() == b"/x/npu-smi info -i 1 /x/npu-smi info -i 2".split()
    assert trailer is not None
    assert trailer.problem == (
        "/x/npu-smi info -i 1 had not answered after 0.2 s; /x/npu-smi info -i 2 had not answered after 0.2 s; "
        "/x/npu-smi hung twice: not asked again"
    )


LINES = st.lists(st.sampled_from([b"", b" ", b"@end\t0\t0\t0", b"text", b"\x00\xff", b" @x"]), max_size=6)


@given(LINES, st.booleans(), st.lists(st.integers(1, 40), min_size=1), st.booleans())
def test_no_cut_of_the_stream_matters(lines: list[bytes], ends: bool, cuts: list[int], packed: bool) -> None:
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    inner = b"".join(b" " + line for line in content.splitlines(keepends=True)) if content else b""
    stream = b"@doing\tthis\n@file\tplog\tfile\tx\ty\tz\n" + inner + b"\n@end\t0\t1\t2\t\n@done\n"
    raw = zlib.compress(stream, wbits=31) if packed else stream
    found, frames = heard(_cut(raw, cuts))
    assert [c for _, c, _ in found.files] == [content]
    assert frames.done


def _cut(data: bytes, sizes: list[int]) -> Iterable[bytes]:
    number = 0
    while data:
        size = sizes[number % len(sizes)]
        yield data[:size]
        data, number = data[size:], number + 1


def test_what_was_whole_before_a_break_is_whole() -> None:
    members = [b"@file\tplog\tfile\ta\t\t\n one\n\n@end\t0\t0\t4\t\n", b"@file\tplog\tfile\tb\t\t\n two\n th"]
    stream = b"".join(zlib.compress(member, wbits=31) for member in members)

    found, frames = heard([stream])

    assert [(h.path, c, t is None) for h, c, t in found.files] == [("a", b"one\n", False), ("b", b"two\nth", True)]
    assert not frames.done


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    for start in (b"", b"\x1f\x8b", b"@file\tplog\ttar\ta\t\t\n"):
        try:
            heard([start + data])
        except BrokenStream:
            continue


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(BrokenStream):
        heard([b"@doing\t" + b"x" * 70_000])


def test_what_unpacks_to_much_comes_in_pieces() -> None:
    bomb = zlib.compress(bytes(5_000_000), 1, wbits=31)

    assert max(len(piece) for piece in Unpacker().feed(bomb)) <= 1 << 20


# ---- tar


class Members:
    def __init__(self) -> None:
        self.found: list[tuple[str, bytes]] = []
        self.passed: list[tuple[str, str]] = []

    def file(self, name: str, size: int, modified: int) -> None:
        self.found.append((name, b""))

    def data(self, content: bytes) -> None:
        name, before = self.found.pop()
        self.found.append((name, before + content))

    def passed_over(self, name: str, what: str) -> None:
        self.passed.append((name, what))


FILES = {"log/debug/plog/plog-1.log": b"x" * 700, "log/" + "long/" * 60 + "plog.log": b"deep", "log/empty": b""}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [1, 100, 512, 100_000])
def test_tar_in_all_forms(form: int, size: int) -> None:
    files = FILES if form != tarfile.USTAR_FORMAT else {name: c for name, c in FILES.items() if len(name) < 200}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
            entry = tarfile.TarInfo("log/odd")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    got = Members()
    tar = Tar(got)

    for piece in _cut(buffer.getvalue(), [size]):
        tar.feed(piece)

    assert dict(got.found) == files
    assert [what for _, what in got.passed] == ["a link", "a hard link", "a device", "a pipe"]
    assert tar.ended


def test_a_name_without_bounds_is_refused() -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 1 << 40

    with pytest.raises(BrokenStream):
        Tar(Members()).feed(entry.tobuf(tarfile.GNU_FORMAT))


@given(st.binary(min_size=512, max_size=600))
def test_no_tar_is_told_so(data: bytes) -> None:
    try:
        Tar(Members()).feed(data)
    except BrokenStream:
        return


def test_each_die_and_each_device_is_asked_what_is_read_of_it(tmp_path: Path) -> None:
    for name, answer in (
        ("npu-smi", "0 1 2 Ascend910"),
        ("hccn_tool", "link status: UP"),
        ("ls", "davinci0\ndavinci11"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tmp_path / name).chmod(0o755)

    script = f"PATH={tmp_path}:$PATH\n_take state file x '' 99999 tools _npu_info 60 'health ecc' 'link ip'\n"

    ((_, content, trailer),) = heard([run(script, tmp_path)])[0].files
    asked = [
        line for line in content.decode().splitlines() if line.startswith(("/usr/local/bin/npu-smi", "/usr/local/A"))
    ]
    assert [line.rpartition("/")[2] for line in asked] == [
        "npu-smi info -m",
        "npu-smi info",
        "npu-smi info -t topo",
        "npu-smi info -i 0 -c 1 -t health",
        "npu-smi info -i 0 -c 1 -t ecc",
        "hccn_tool -i 0 -link -g",
        "hccn_tool -i 11 -link -g",
        "hccn_tool -i 0 -ip -g",
        "hccn_tool -i 11 -ip -g",
    ]
    assert trailer is not None
    assert (trailer.exit, trailer.problem) == (0, "")
