"""What lies on disk as evidence: our archives and runs with all they know, and files from anywhere."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from provision.diagnose.manifest import FileEntry, Manifest, NodeEntry, ProcessEntry
from provision.diagnose.opening import from_stream, notes, open_evidence
from provision.errors import UsageError

LOG = "2026-01-31T08:00:01.5Z RuntimeError: NPU out of memory\n"
MANIFEST = Manifest(
    cluster="prod",
    taken=1_769_846_400.0,
    nodes=(
        NodeEntry("atlas-1", 0, "worker-0", "10.0.0.1", offset=1.5, zone=28800.0),
        NodeEntry("atlas-2", 1, "worker-1", missing="connection refused"),
    ),
    processes=(
        ProcessEntry(
            "head", "atlas-1", rank=0, container="qnext-prod-head", state="exited", exit_code=137, oom_killed=True
        ),
        ProcessEntry("worker1", "atlas-2", rank=1),
    ),
    files=(
        FileEntry("worker-0/head.log", "stdout", "atlas-1", "head", bytes=len(LOG), whole=9000),
        FileEntry("worker-0/process_log/head/debug/plog/plog-7_1.log", "plog", "atlas-1", "head", bytes=4),
        FileEntry("worker-0/environment_check/npu_info_after.txt", "state", "atlas-1", bytes=2),
        FileEntry("worker-0/host/dmesg.txt", "kernel", "atlas-1", problem="dmesg: not permitted"),
    ),
)
FILES = {
    "manifest.json": MANIFEST.as_json(),
    "worker-0/head.log": LOG,
    "worker-0/process_log/head/debug/plog/plog-7_1.log": "plog",
    "worker-0/environment_check/npu_info_after.txt": "ok",
    "report.md": "RuntimeError: in a report",
}


def folder(top: Path, files: dict[str, str] = FILES) -> Path:
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def packed(path: Path, files: dict[str, str], *, top: str = "evidence-prod-1/") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("form", ["archive", "folder", "folder around it"])
def test_our_archive_with_all_it_knows(form: str, tmp_path: Path) -> None:
    if form == "archive":
        path = packed(tmp_path / "a.tar.gz", FILES)
    else:
        path = folder(tmp_path / "evidence-prod-1" if form == "folder" else tmp_path / "around" / "evidence-prod-1")
        path = path.parent if form == "folder around it" else path

    found = open_evidence([path])

    assert (found.manifest.cluster, found.manifest.nodes) == ("prod", MANIFEST.nodes)
    head, plog = found.logs
    assert (head.node, head.process, head.text, head.source) == ("atlas-1", "head", LOG, "stdout")
    assert (head.exit_code, head.oom_killed, head.container) == (137, True, "qnext-prod-head")
    assert (head.offset, head.zone, head.cut, head.path) == (1.5, 28800.0, True, "worker-0/head.log")
    assert (plog.source, plog.text, plog.cut) == ("plog", "plog", False)
    assert ("worker-0/host/dmesg.txt", "dmesg: not permitted") in [(n.path, n.text) for n in notes(found)]


def test_an_archive_that_breaks_off_says_what_is_not_there(tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if "plog" not in name}

    found = open_evidence([packed(tmp_path / "a.tar.gz", files)])

    lost = [(n.path, n.text) for n in notes(found) if "breaks off" in n.text]
    assert lost == [("worker-0/process_log/head/debug/plog/plog-7_1.log", "the archive breaks off before it")]


def test_members_outside_of_the_folder_are_no_evidence(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "a.tar.gz", FILES | {"../../etc/cron.d/x.log": LOG, "../evidence-prod-1/worker-0/y.log": LOG}
    )

    found = open_evidence([path])

    assert len(found.logs) == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.tar.gz"], "nothing is ever unpacked"


def test_a_manifest_of_a_later_version_is_refused(tmp_path: Path) -> None:
    files = FILES | {"manifest.json": replace(MANIFEST, format=99).as_json()}

    with pytest.raises(UsageError, match="format 99"):
        open_evidence([packed(tmp_path / "a.tar.gz", files)])


def test_an_archive_of_others(tmp_path: Path) -> None:
    path = packed(
        tmp_path / "a.tgz", {"node-0/rank-1.log": LOG, "node-1/rank-2.log": LOG, "node-1/x.bin": "\x01\x02\x03"}
    )

    found = open_evidence([path])

    assert [(log.node, log.process) for log in found.logs] == [("node-0", "rank-1"), ("node-1", "rank-2")]
    assert [p.state for p in found.manifest.processes] == ["unknown", "unknown"]
    assert [n.text for n in notes(found)] == ["it is no text, so it was passed over"]


def test_files_and_folders_together(tmp_path: Path) -> None:
    folder(tmp_path, {"node1/vllm.log": LOG, "b.log": LOG, "node1/cluster.yaml": "a: 1", "node1/.hidden/x.log": LOG})

    found = open_evidence([tmp_path / "node1", tmp_path / "b.log"])

    assert [(log.node, log.process) for log in found.logs] == [("", "b"), ("node1", "vllm")]


def test_links_in_folders_are_not_followed(tmp_path: Path) -> None:
    folder(tmp_path / "logs", {"a.log": LOG})
    (tmp_path / "logs" / "l.log").symlink_to("/etc/passwd")
    (tmp_path / "logs" / "round").symlink_to(tmp_path)

    assert [log.process for log in open_evidence([tmp_path / "logs"]).logs] == ["a"]


def run(tmp_path: Path, files: dict[str, str]) -> Path:
    return folder(tmp_path / "20260131T080000Z-up-abcdef", {"run.json": json.dumps({"command": "up"}), **files})


def test_a_run_with_the_logs_that_it_kept(tmp_path: Path) -> None:
    names = ("head.log", "head.2.log", "head.plog-7_1.2.log", "kernel.2.log", "npu-pings.log", "room.txt")
    path = run(tmp_path, {f"logs/blade/{name}": f"{name}\n" for name in names})

    found = open_evidence([path])

    read = {(log.node, log.process, log.source, log.text.strip()) for log in found.logs}
    assert read == {
        ("blade", "head", "stdout", "head.2.log"),
        ("blade", "head", "plog", "head.plog-7_1.2.log"),
        ("blade", "", "kernel", "kernel.2.log"),
    }


def test_a_run_with_its_archive(tmp_path: Path) -> None:
    path = run(tmp_path, {"logs/atlas-1/head.log": "kept\n"})
    packed(path / "evidence.tar.gz", FILES)

    assert open_evidence([path]).manifest.cluster == "prod"


def test_a_run_without_logs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="kept no logs") as caught:
        open_evidence([run(tmp_path, {})])

    assert "events.jsonl" in caught.value.hint


@pytest.mark.parametrize(
    ("files", "named", "message"),
    [
        ({}, "absent.log", "no such file or folder"),
        ({"x/only.json": "{}"}, "x", "there is no log"),
        ({"a.log": ""}, "a.log", "there is no log"),
        ({"a.bin": "\x01\x02\x03" * 9}, "a.bin", "it is no text"),
        ({"a.tar.gz": "no archive"}, "a.tar.gz", "broken"),
    ],
)
def test_what_can_not_be_used_is_refused_with_a_remedy(
    files: dict[str, str], named: str, message: str, tmp_path: Path
) -> None:
    folder(tmp_path, files)

    with pytest.raises(UsageError, match=message) as caught:
        open_evidence([tmp_path / named])

    assert "logs collect" in caught.value.hint


def test_stdin() -> None:
    found = from_stream(io.BytesIO(LOG.encode()))

    assert [(log.node, log.process, log.text) for log in found.logs] == [("", "stdin", LOG)]
    assert notes(found) == []


def test_empty_stdin() -> None:
    with pytest.raises(UsageError, match="no log in stdin"):
        from_stream(io.BytesIO(b""))
