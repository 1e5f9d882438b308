"""``logs collect`` as an operator sees it: options that can't be meant, and the account at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from provision.cli import collect, playbook
from provision.diagnose import collecting
from provision.diagnose.collecting import Collected
from provision.diagnose.diagnosis import Diagnosis
from provision.diagnose.manifest import FileEntry, Manifest, NodeEntry
from provision.errors import LaunchFailed, Unreachable
from provision.events import Note
from tests.modules import world

NODES = tuple(NodeEntry(f"node{n}", n, f"worker-{n}", missing="refused" if n == 3 else "") for n in range(4))
FILES = (
    FileEntry("worker-0/head.log", "stdout", "node0", "head", bytes=64_000_000, whole=900_000_000),
    *(
        FileEntry(f"worker-{n}/process_log/rank{n}", "plog", f"node{n}", f"rank{n}", problem="no such folder")
        for n in range(3)
    ),
    FileEntry("worker-1/environment_check/npu_info_after.txt", "state", "node1", bytes=9, whole=9, problem="it hung"),
    FileEntry("worker-2/host/memory.txt", "state", "node2", bytes=9, whole=9, exit=1, problem="exit status 1"),
)


def test_the_account() -> None:
    manifest = Manifest(cluster="c", nodes=NODES, files=FILES)
    got = Collected(
        Path("/x/c.tar.gz"), manifest, Diagnosis(True, True, "it failed"), 1_500_000, ("node0",), Path("/p")
    )

    assert list(collect.told(got, "qnext-provision logs collect -o c.tar.gz")) == [
        "already there from an earlier call: node0 (--afresh asks again)",
        "archive: /x/c.tar.gz (1.5 MB; 3 files of 4 nodes)",
        "missing: node3: refused",
        "cut: head.log: its last 64.0 MB of 900.0 MB (node0)",
        "not there: plog of the servers: no such folder (node[0:2])",
        "incomplete: environment_check/npu_info_after.txt: it hung (node1)",
        "it failed",
        "go on with what is missing: qnext-provision logs collect -o c.tar.gz",
        "next: qnext-provision diagnose /x/c.tar.gz",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--max-file", "lots"], "'lots' is not like 64M"),
        (["--max-node", "12"], "'12' is not like 64M"),
        (["--without", "npu,logs"], "no part 'logs'; there are: servers, plog"),
        (["--since", "yesterday"], "'yesterday' is not like 10m"),
        (["--since", "2026-01-31 08:00 Mars/Base"], "no time zone 'Mars/Base'"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], told: str) -> None:
    answer = CliRunner().invoke(collect.command, ["-i", "cluster.yaml", *words])

    assert answer.exit_code == 2
    assert told in answer.output


@pytest.mark.parametrize(("text", "count"), [("64M", 64_000_000), ("1.5G", 1_500_000_000), ("500 kB", 500_000)])
def test_amounts(text: str, count: int) -> None:
    assert collect._amount(None, None, text) == count


def test_a_defect_in_collecting_does_not_hide_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(collecting, "kept", broken)
    monkeypatch.setattr(collect, "texts_of", lambda inventory: {})
    two = world.cluster()

    told = playbook._evidence(None, tmp_path, two, [LaunchFailed("head died")])

    assert told == {}
    assert [event.text for event in two.told if isinstance(event, Note)] == [
        "collecting what the nodes tell of it, for 60 s at most",
        "it could not be collected: ValueError: a bug",
    ]


def test_what_a_failed_run_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def kept(cluster: object, folder: Path, options: object, **more: Any) -> Collected:
        asked.update(more)
        return Collected(folder / "evidence.tar.gz", Manifest(nodes=NODES), Diagnosis(True, True, "x"), 2_000_000)

    monkeypatch.setattr(collecting, "kept", kept)
    monkeypatch.setattr(collect, "texts_of", lambda inventory: {})
    errors = [LaunchFailed("head died"), Unreachable("gone", node="node3")]

    told = playbook._evidence(None, tmp_path, world.cluster(), errors)

    assert told == {
        "evidence": f"{tmp_path}/evidence.tar.gz (2.0 MB), without node3",
        "diagnose": f"qnext-provision diagnose {tmp_path}/evidence.tar.gz",
    }
    assert (asked["error"], asked["unreachable"]) == ("head died", {"node3": "gone"})
