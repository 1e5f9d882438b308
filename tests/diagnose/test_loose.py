"""Where logs from anywhere are from: by the layouts that people send."""

from __future__ import annotations

import json

import pytest

from provision.diagnose.loose import Loose, named, texts
from provision.diagnose.unpacking import File

LINE = "INFO 11-24 06:03:01 [core.py:1] up\n"
PLOG = "[ERROR] HCCL(1365,python3):2025-08-06-23:09:30.940.123 [a.cc:1] [1] EI0006\n"
KERNEL = "[Sun Aug  2 03:36:43 2026] Out of memory: Killed process 7 (python3)\n"
HEX = "0123456789abcdef" * 4


def found(*files: tuple[str, str]) -> list[Loose]:
    return texts([one for path, text in files for one in named(File(path, text.encode()))])


def whose(*files: tuple[str, str]) -> list[tuple[str, str, str]]:
    return [(one.node, one.process, one.kind) for one in found(*files)]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        # ascend-fd's tree, with and without a folder for the process
        (
            [("worker-0/vllm.log", LINE), ("worker-0/process_log/debug/plog/plog-1365_2025.log", PLOG)],
            [("worker-0", "vllm", "plog"), ("worker-0", "vllm", "stdout")],
        ),
        (
            [
                ("b/worker-1/head.log", LINE),
                ("b/worker-1/other.log", LINE),
                ("b/worker-1/process_log/head/debug/plog/plog-9_2025.log", PLOG),
                ("b/worker-1/process_log/head/debug/device-3/device-9_2025.log", PLOG),
                ("b/worker-1/device_log/host_0.log", "driver\n"),
            ],
            [
                ("worker-1", "", "driver"),
                ("worker-1", "head", "stdout"),
                ("worker-1", "other", "stdout"),
                ("worker-1", "head", "device"),
                ("worker-1", "head", "plog"),
            ],
        ),
        # a harness: folders by node, files by rank
        (
            [("tmp/external_dp_logs/node-0/rank-1.log", LINE), ("tmp/external_dp_logs/node-1/rank-2.log", LINE)],
            [("node-0", "rank-1", "stdout"), ("node-1", "rank-2", "stdout")],
        ),
        # folders by names that look like nothing
        (
            [("logs/blade-a/vllm.log", LINE), ("logs/blade-b/vllm.log", LINE)],
            [("blade-a", "vllm", "stdout"), ("blade-b", "vllm", "stdout")],
        ),
        ([("10.0.0.1/stdout.log", LINE)], [("10.0.0.1", "stdout", "stdout")]),
        # single files
        (
            [("node0.log", LINE), ("node1-worker.log", LINE)],
            [("node0", "server", "stdout"), ("node1", "worker", "stdout")],
        ),
        ([("head.log", LINE)], [("", "head", "stdout")]),
        ([("plog-1365_2025.log", PLOG)], [("", "pid1365", "plog")]),
        ([("copied.txt", PLOG)], [("", "pid1365", "plog")]),
        # of a node
        (
            [
                ("node1/messages", KERNEL),
                ("node1/dmesg.txt", KERNEL),
                ("node1/x.txt", KERNEL),
                ("node1/journal.txt", "a b\n"),
            ],
            [("node1", "", "kernel"), ("node1", "", "journal"), ("node1", "", "kernel"), ("node1", "", "kernel")],
        ),
        # Ray's session
        (
            [
                ("ray/session_latest/logs/raylet.out", "x\n"),
                ("ray/session_latest/logs/gcs_server.out", "x\n"),
                (f"ray/session_latest/logs/worker-{HEX[:28]}-01000000-77.err", "x\n"),
            ],
            [("", "gcs_server", "ray"), ("", "raylet", "ray"), ("", f"worker-{HEX[:28]}-01000000-77", "ray")],
        ),
        # docker's and Kubernetes' own files
        ([(f"containers/{HEX}/{HEX}-json.log", LINE)], [("", HEX[:12], "stdout")]),
        ([("var/log/pods/ns_vllm-0_uid/vllm/0.log", LINE)], [("", "vllm", "stdout")]),
    ],
)
def test_node_process_and_kind(paths: list[tuple[str, str]], expected: list[tuple[str, str, str]]) -> None:
    assert whose(*paths) == expected


@pytest.mark.parametrize("name", ["a.json", "cluster.yaml", "run.sh", "x.py", "README.md", "environment_check/npu.txt"])
def test_what_is_no_log_is_passed_over_unless_it_is_named(name: str) -> None:
    assert list(named(File(name, b"text\n"))) == []
    assert len(list(named(File(name.rsplit("/")[-1], b"text\n", named=True)))) == 1


def test_rotated_parts_are_one_log() -> None:
    [one] = found(("n/head.log", "three\n"), ("n/head.log.1", "two\n"), ("n/head.log.2", "one\n"))

    assert (one.process, one.text) == ("head", "one\ntwo\nthree\n")


def test_dockers_json_files_get_their_stamps_and_long_lines_back() -> None:
    parts = [("a\n", "1"), ("long ", "2"), ("line\n", "3")]
    text = "\n".join(
        json.dumps({"log": log, "stream": "stderr", "time": f"2026-01-31T08:00:0{at}.5Z"}) for log, at in parts
    )

    [one] = found(("x-json.log", text + "\nno json"))

    assert one.text == "2026-01-31T08:00:01.5Z a\n2026-01-31T08:00:02.5Z long line\nno json\n"


def test_kubernetes_lines() -> None:
    [one] = found(("0.log", "2026-01-31T08:00:01.5Z stderr P half \n2026-01-31T08:00:01.6Z stderr F whole\n"))

    assert one.text == "2026-01-31T08:00:01.5Z half whole\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n1/head    | one\nn2/worker1 | two\nn1/head    | \n", [("n1", "head", "one\n"), ("n2", "worker1", "two")]),
        ("head-1  | one\nworker-1  | two\n", [("", "head-1", "one"), ("", "worker-1", "two")]),
        (
            '{"time": "2026-01-31T08:00:01Z", "node": "n1", "process": "head", "text": "one", "note": false}\n',
            [("n1", "head", "2026-01-31T08:00:01Z one")],
        ),
    ],
)
def test_merged_logs_are_split_again(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(one.node, one.process, one.text) for one in found(("all.txt", text))] == expected


@pytest.mark.parametrize(
    "text", ["| a | table |\n" * 5, '{"a": 1}\n', "[1, 2]\n", "", "\x1b[0m\n", "a | b\nplain\n" * 9]
)
def test_what_only_looks_merged_is_one_log(text: str) -> None:
    assert len(list(named(File("a.log", text.encode())))) == 1
