"""``logs collect``, and the archive that a failed ``up`` leaves, on two nodes whose tools tell what real ones tell."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

DIES = "hccl/fails", "0.2 EI0006"


def unpacked(path: Path) -> dict[str, bytes]:
    """Content by path below the archive's folder."""
    with tarfile.open(path) as archive:
        tops = {name.partition("/")[0] for name in archive.getnames()}
        assert len(tops) == 1
        assert tops.pop().startswith("evidence-rehearsal-")
        return {
            entry.name.partition("/")[2]: file.read()
            for entry in archive
            if (file := archive.extractfile(entry)) is not None
        }


def test_a_failed_up_leaves_an_archive_and_collecting_goes_on_where_it_ended(a3: Practice, program: Program) -> None:
    a3.fault("node1", *DIES)
    failed = program("up", "-i", a3.inventory)
    assert failed.exit == 1, failed.text
    (kept,) = program.runs.glob("2*/evidence.tar.gz")
    assert str(kept) in failed.text
    assert f"qnext-provision diagnose --run {kept.parent.name[-6:]}" in failed.text
    assert b"HCCL" in unpacked(kept)["worker-0/head.log"]
    assert "error" in json.loads(unpacked(kept)["manifest.json"])

    target = program.place / "case.tar.gz"
    a3.fault("node1", "command/npu-smi", "hang")
    a3.fault("node2", "ssh/stopped")
    a3.fault("node2", "ssh/drop_now")
    collect = ("logs", "collect", "-i", a3.inventory, "-o", target, "--timeout", "90")
    first = program(*collect)

    assert first.exit == 4, first.text
    assert "missing: node2: " in first.stdout
    assert "npu-smi hung twice: not asked again" in first.stdout
    files = unpacked(target)
    assert {
        "manifest.json",
        "diagnosis.json",
        "report.md",
        "inventory.yaml",
        "run/run.json",
        "run/events.jsonl",
        "launch/node1/head.sh",
        "worker-0/head.log",
        "worker-0/environment_check/npu_info_after.txt",
        "worker-0/device_log/slog/host-0/host-0.log",
        "worker-0/host/dmesg",
        "worker-0/host/versions.txt",
        "worker-0/host/inspect.json",
    } <= set(files)
    plogs = [name for name in files if name.startswith("worker-0/process_log/head/debug/plog/plog-")]
    assert plogs, sorted(files)
    network = files["worker-0/environment_check/npu_info_after.txt"].decode()
    assert "hccn_tool -i 15 -link -g\nlink status: UP" in network
    manifest = json.loads(files["manifest.json"])
    assert [(node["name"], bool(node["missing"])) for node in manifest["nodes"]] == [("node1", False), ("node2", True)]
    assert {f["path"] for f in manifest["files"] if f["bytes"]} == set(files) - {"manifest.json"}

    a3.mend("node2", "ssh/stopped")
    asked = a3.execs("node1")
    second = program(*collect)

    assert second.exit == 0, second.text
    assert "already there from an earlier call: node1" in second.stdout
    both = unpacked(target)
    assert both["worker-0/head.log"] == files["worker-0/head.log"]
    assert "worker-1/worker1.log" in both
    assert a3.execs("node1") - asked < 5
    assert not target.with_name("case.tar.gz.partial").exists()
    assert program(*collect).exit == 2
