"""Eight nodes whose clocks differ by minutes: the rank that failed first is named, however loud the others are.

Every case is told by ``up``, by ``diagnose`` of the live cluster, and of the archive of ``logs collect``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from provision.rehearsal import cluster as rehearsal
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

NODES = 8
PORT = 2780
SKEWS = {"node1": "-170", "node2": "45", "node3": "-90.5", "node4": "200", "node5": "130", "node6": "-20", "node8": "7"}
"""Seconds ahead. Where node 5 fails first most others' stamps are earlier than its own."""

OOM = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; 61.28 GiB total capacity)"


@dataclass(frozen=True)
class Case:
    """``faults``: of the node that fails first, or falls silent; ``others``: of all others. ``said``:
    words of the diagnosis."""

    node: str
    faults: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)
    known: bool = True
    said: tuple[str, ...] = ()
    process: str = ""


LOUD = {"vllm/mourns": "1 15"}
CASES = {
    "an early stamp from a clock that is slow": Case(
        "node3", {"vllm/die_at_start": f"0.5 1 {OOM}"}, LOUD, said=("no memory left",), process="worker2"
    ),
    "a late stamp from a clock that is fast": Case(
        "node5", {"vllm/die_at_start": f"0.5 1 {OOM}"}, LOUD, said=("no memory left",), process="worker4"
    ),
    "a rank that hangs without a word": Case(
        "node4", {"vllm/silent": "0.5"}, {"hccl/timeout": "1.5"}, said=("worker3",), process="worker3"
    ),
    "killed by the kernel": Case(
        "node5", {"vllm/oom_killed": "0.5"}, LOUD, said=("memory",), process="worker4"
    ),
    "an error that nobody knows": Case(
        "node6",
        {"vllm/die_at_start": "0.5 1 ZebraError: the stripes of shard 7 do not add up"},
        LOUD,
        known=False,
        said=("ZebraError",),
        process="worker5",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Practice]:
    """Eight Atlas A3 nodes whose clocks differ."""
    number = int(worker_id.removeprefix("gw") or 0) if worker_id != "master" else 19
    place = tmp_path_factory.mktemp("eight")
    info = rehearsal.up(place / "cluster", NODES, "atlas-800-a3", port=PORT + number)
    try:
        yield Practice(info, place)
    finally:
        rehearsal.down(info.folder)


@pytest.fixture
def skewed(eight: Practice, tmp_path: Path) -> Iterator[Practice]:
    practice = Practice(eight.info, tmp_path)
    for node, seconds in SKEWS.items():
        practice.fault(node, "clock/skew", seconds)
    try:
        yield practice
    finally:
        practice.reset()


def inventory(practice: Practice) -> Path:
    """One group over all nodes: an engine on each. Clocks that differ are what is practised, so no check stops it."""
    serve = {"topology": "data-parallel", "tensor_parallel_size": 4, "data_parallel_size": NODES}
    return practice.write_inventory(serve=serve)


@pytest.mark.parametrize("name", CASES)
def test_who_failed_first_is_told_by_every_command(skewed: Practice, program: Program, name: str) -> None:
    case = CASES[name]
    for key, value in case.faults.items():
        skewed.fault(case.node, key, value)
    for node in set(skewed.nodes) - {case.node}:
        for key, value in case.others.items():
            skewed.fault(node, key, value)
    path = inventory(skewed)

    up = program("up", "-i", path, "--json")
    assert up.exit == 1, up.text
    error = next(iter(up.json()["errors"].values()))
    assert_told(case, error["diagnosis"])
    assert error["node"] == case.node, error["message"]
    assert all(word in error["message"] + error["evidence"] for word in case.said), error

    live = program("diagnose", "-i", path, "--json")
    assert live.exit == 1, live.text
    assert_told(case, live.json())

    archive = skewed.place / "evidence.tar.gz"
    collected = program("logs", "collect", "-i", path, "-o", archive)
    assert collected.exit == 0, collected.text
    told = program("diagnose", archive, "--json")
    assert told.exit == 1, told.text
    assert_told(case, told.json())


def assert_told(case: Case, diagnosis: Mapping[str, Any]) -> None:
    told = f"{diagnosis['sentence']}\n{diagnosis['proof']}"
    assert diagnosis["failed"] is True, told
    assert (diagnosis["node"], diagnosis["known"]) == (case.node, case.known), told
    assert diagnosis["process"] in ("", case.process), told
    assert all(word in str(diagnosis) for word in case.said), told
    assert case.node in diagnosis["sentence"], told
