"""Collecting: what nodes send becomes files, what they don't is named, and a second call goes on where one ended."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.diagnose import collecting, items
from provision.diagnose.collecting import Collected, Options, Progress, collect, kept
from provision.diagnose.manifest import FileEntry, Manifest, NodeEntry
from provision.errors import ConnectionLost, UsageError
from provision.inventory.model import Connection, Host
from tests.modules import world

Stream = Callable[[], Iterator[bytes]]


@dataclass
class Sender(world.Node):
    """A node that sends what it is told to."""

    stream_of: Stream = lambda: iter(())
    asked: int = 0

    def pipe(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        self.asked += 1
        return self.stream_of()


@pytest.fixture(autouse=True)
def _known_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of the cluster is another file's."""

    def made(cluster: Any, hosts: Any, *, error: str = "", command: str = "") -> Manifest:
        nodes = tuple(NodeEntry(node.name, node.index, "", offset=1.5) for node in cluster.nodes)
        return Manifest(cluster="qnext", taken=1.0, error=error, command=command, nodes=nodes)

    monkeypatch.setattr(collecting, "manifest_of", made)


def cluster(*streams: Stream) -> Any:
    made = world.cluster(nodes=len(streams))
    made.nodes = [
        Sender(node.number, node.settings, node.facts, node.server, stream_of=stream)
        if hasattr(node, "number")
        else Sender(index, node.settings, node.facts, node.server, stream_of=stream)
        for index, (node, stream) in enumerate(zip(made.nodes, streams, strict=True))
    ]
    return made


def frame(path: str, content: bytes, kind: str = "stdout", form: str = "file", end: str = "0\t1\t0\t") -> bytes:
    inner = b"".join(b" " + line for line in content.splitlines(keepends=True)) if form == "file" else content
    if form == "tar":
        inner = b" " + content.replace(b"\n", b"\n ")
    head = f"@file\t{kind}\t{form}\t{path}\thead\tdocker logs head\n".encode()
    return head + inner + f"\n@end\t{end}\n".encode()


def sends(*parts: bytes, lost: bool = False) -> Stream:
    def stream() -> Iterator[bytes]:
        yield from parts
        if lost:
            raise ConnectionLost("connection lost")
        yield b"@done\n"

    return stream


def unpacked(got: Collected) -> dict[str, bytes]:
    """Content by path below the archive's folder."""
    with tarfile.open(got.path) as archive:
        return {
            entry.name.partition("/")[2]: file.read()
            for entry in archive
            if (file := archive.extractfile(entry)) is not None
        }


def entry(got: Collected, path: str) -> FileEntry:
    return next(file for file in got.manifest.files if file.path == path)


def test_an_archive_of_two_nodes(tmp_path: Path) -> None:
    two = cluster(sends(frame("head.log", b"one\n")), sends(frame("worker1.log", b"two\n")))
    told: list[Progress] = []

    got = collect(two, tmp_path / "case.tar.gz", error="it failed", progress=told.append)

    files = unpacked(got)
    assert {"manifest.json", "diagnosis.json", "worker-0/head.log", "worker-1/worker1.log"} == set(files)
    assert files["worker-1/worker1.log"] == b"two\n"
    manifest = Manifest.from_json(files["manifest.json"].decode())
    assert manifest.error == "it failed"
    assert [(node.name, node.folder, node.offset, node.missing) for node in manifest.nodes] == [
        (node.name, f"worker-{index}", 1.5, "") for index, node in enumerate(two.nodes)
    ]
    assert {file.path for file in manifest.files} == set(files) - {"manifest.json"}
    assert sum(one.done for one in told) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "case.tar.gz"]


def test_a_lost_node_is_named_and_asked_again_alone(tmp_path: Path) -> None:
    whole = frame("worker1.log", b"two\n")
    two = cluster(sends(frame("head.log", b"one\n")), sends(whole, whole[:40], lost=True))
    target = tmp_path / "case.tar.gz"

    got = collect(two, target)

    name = two.nodes[1].name
    assert got.missing == {name: "connection lost; what came before is here"}
    assert unpacked(got)["worker-1/worker1.log"] == b"two\n"
    assert got.partial is not None
    assert got.partial.is_dir()

    two.nodes[1].stream_of = sends(frame("worker1.log", b"two\nthree\n"))
    again = collect(two, target)

    assert again.missing == {}
    assert again.resumed == (two.nodes[0].name,)
    assert [node.asked for node in two.nodes] == [1, 2]
    assert unpacked(again)["worker-1/worker1.log"] == b"two\nthree\n"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(UsageError, match="not overwritten"):
        collect(two, target)


def test_a_node_out_of_reach_is_in_the_manifest(tmp_path: Path) -> None:
    one = cluster(sends(frame("head.log", b"one\n")))
    away = Host("away", 7, (), Connection(host="192.0.2.7"), one.settings)

    got = collect(one, tmp_path / "a.tar.gz", hosts=[away], unreachable={"away": "no route to host"})

    assert got.missing == {"away": "no route to host"}
    assert [node.folder for node in got.manifest.nodes if node.name == "away"] == ["worker-7"]


def test_no_node_at_all_still_makes_an_archive(tmp_path: Path) -> None:
    none = cluster()
    away = Host("away", 0, (), Connection(host="192.0.2.7"), world.settings())

    got = collect(none, tmp_path / "a.tar.gz", hosts=[away], unreachable={"away": "refused"})

    assert got.missing == {"away": "refused"}
    assert "manifest.json" in unpacked(got)


def test_what_was_cut_or_failed_is_told(tmp_path: Path) -> None:
    one = cluster(
        sends(
            frame("head.log", b"end\n", end="0\t1\t1000\t"),
            frame("host/dmesg", b"dmesg: not permitted\n", "kernel", end="1\t0\t21\t"),
            frame("environment_check/npu_info_after.txt", b"x\n", "state", end="0\t20\t2\tnpu-smi hung twice"),
            b"@omit\tdriver\tdevice_log/old\t\t77\tleft out\n",
        )
    )

    got = collect(one, tmp_path / "a.tar.gz")

    assert (entry(got, "worker-0/head.log").bytes, entry(got, "worker-0/head.log").whole) == (4, 1000)
    assert entry(got, "worker-0/head.log").cut
    assert entry(got, "worker-0/host/dmesg").problem == "exit status 1"
    assert entry(got, "worker-0/environment_check/npu_info_after.txt").problem == "npu-smi hung twice"
    left = next(file for file in got.manifest.files if file.problem == "left out")
    assert (left.path.endswith("device_log/old"), left.whole, left.bytes) == (True, 77, 0)


def test_secrets_are_masked_before_they_are_written(tmp_path: Path) -> None:
    key = b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n" * 30
    text = b"export HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyzABCDEFGH\n" + key + b"-----END OPENSSH PRIVATE KEY-----\nok\n"
    whole = frame("head.log", text)
    one = cluster(sends(*(whole[at : at + 50] for at in range(0, len(whole), 50))))

    written = unpacked(collect(one, tmp_path / "a.tar.gz"))["worker-0/head.log"]

    assert b"hf_abc" not in written
    assert b"b3BlbnNz" not in written
    assert written.endswith(b"ok\n")
    assert b"HF_TOKEN" in written


def tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("log/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(link)
    return buffer.getvalue()


def test_a_folder_out_of_a_container(tmp_path: Path) -> None:
    content = tar(**{"log/debug/plog/plog-1_2.log": b"[ERROR] HCCL\n" * 20, "log/../../../x": b"y"})
    one = cluster(sends(frame("process_log/head", content, "plog", "tar")))

    got = collect(one, tmp_path / "a.tar.gz", Options(max_file=100))

    files = unpacked(got)
    plog = entry(got, "worker-0/process_log/head/debug/plog/plog-1_2.log")
    assert (plog.kind, plog.process, plog.bytes, plog.whole) == ("plog", "head", 100, 260)
    assert files[plog.path] == (b"[ERROR] HCCL\n" * 20)[-100:]
    assert files["worker-0/process_log/head/_/_/_/x"] == b"y"
    assert [file.problem for file in got.manifest.files if "link" in file.path] == ["left out: it is a link"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    end = "1\t0\t0\tError response from daemon: Could not find the file root/ascend/log in container 1f"
    one = cluster(sends(frame("process_log/head", b"", "plog", "tar", end=end)))

    got = collect(one, tmp_path / "a.tar.gz")

    assert entry(got, "worker-0/process_log/head").problem == "no such folder in the container"


def test_a_hostile_node_writes_nowhere_else_and_not_without_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "MOST_FILES", 20)
    monkeypatch.setattr(collecting, "_SLACK", 0)
    names = ["../../../outside", "/outside", "a/b", "a", "A", "manifest.json", "..", "\x1b[2Jx", "worker-1/x"]
    parts = [frame(name, b"x" * 50) for name in names] + [frame("many", b"y" * 50) for _ in range(30)]
    one = cluster(sends(*parts))

    got = collect(one, tmp_path / "case.tar.gz", Options(max_node=600))

    files = unpacked(got)
    own = {name: content for name, content in files.items() if not name.startswith("worker-0/")}
    assert set(own) == {"manifest.json", "diagnosis.json"}
    assert json.loads(files["manifest.json"])["cluster"] == "qnext"
    assert sum(len(content) for name, content in files.items() if name.startswith("worker-0/")) <= 650
    assert all(part.isprintable() for part in files)
    assert [path.name for path in tmp_path.iterdir()] == ["case.tar.gz"]


def test_nonsense_is_no_reason_to_have_no_archive(tmp_path: Path) -> None:
    one = cluster(sends(frame("head.log", b"one\n"), b"nonsense\n"))

    got = collect(one, tmp_path / "a.tar.gz")

    (why,) = got.missing.values()
    assert why == "what it sent can't be read: a line that the script doesn't write; what came before is here"


def test_a_run_keeps_its_evidence_under_a_free_name(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands/n1.log").write_text("=== ls")
    lost = cluster(sends(frame("head.log", b"one\n"), lost=True))

    first, second = kept(lost, tmp_path, Options()), kept(lost, tmp_path, Options())

    assert [got.path.name for got in (first, second)] == ["evidence.tar.gz", "evidence-2.tar.gz"]
    assert unpacked(first)["run/commands/n1.log"] == b"=== ls"
    assert not list(tmp_path.glob("*.partial"))


def test_a_disk_that_is_full_is_told_with_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("provision.diagnose.archive.Partial.pack", full)

    with pytest.raises(UsageError, match="No space left") as caught:
        collect(cluster(sends(frame("head.log", b"one\n"))), tmp_path / "a.tar.gz")

    assert "a.tar.gz.partial" in caught.value.hint


def test_two_calls_to_one_target_do_not_meet(tmp_path: Path) -> None:
    refused: list[UsageError] = []

    def meanwhile() -> Iterator[bytes]:
        with pytest.raises(UsageError, match="another call") as caught:
            collect(cluster(), tmp_path / "a.tar.gz")
        refused.append(caught.value)
        yield frame("head.log", b"one\n") + b"@done\n"

    got = collect(cluster(meanwhile), tmp_path / "a.tar.gz")

    assert refused
    assert unpacked(got)["worker-0/head.log"] == b"one\n"


def test_a_failed_run_takes_a_short_look_at_tools() -> None:
    own = world.settings().model_copy(update={"hardware": "atlas-800-a3"})

    script = items.script(own, items.Caps(1000, 10_000, 10, brief=True))

    assert "_npu_info 10 '-' 'link' 'a short look" in script
    assert "pip list" not in script


@pytest.mark.parametrize(
    ("since", "seconds"), [("10m", 600.0), ("1h30m", 5400.0), ("250ms", 0.25), ("", None), ("yesterday", None)]
)
def test_since(since: str, seconds: float | None) -> None:
    assert items.seconds_since(since) == seconds


def test_parts_can_be_left_out() -> None:
    caps = items.Caps(1000, 10_000, 10)
    own = world.settings().model_copy(update={"hardware": "atlas-800-a3"})

    whole = items.script(own, caps)
    without = items.script(own, caps, without=frozenset({"npu", "hccn", "kernel", "driver", "host"}))

    assert "_npu_info 10" in whole
    assert "/var/log/npu" in whole
    assert "spod-info" in whole
    assert "_npu_info 10" not in without
    assert "/var/log/npu" not in without
    assert "docker logs --timestamps" in without
