"""``diagnose`` of a launch that failed: live, by its run, by its archive, by files; always the same sentence."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Clusters
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

FAULT = "0.1 1 RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"


@dataclass(frozen=True, slots=True)
class Failed:
    """A cluster whose second node died while it loaded, and what ``diagnose -i`` says of it."""

    practice: Practice
    program: Program
    told: dict[str, Any]

    def same(self, told: dict[str, Any]) -> bool:
        """Whether this is the same failure."""
        return all(told[key] == self.told[key] for key in ("sentence", "id", "node", "process", "title"))


@pytest.fixture(scope="module")
def failed(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failed]:
    practice = Practice(clusters("a3"), tmp_path_factory.mktemp("failed"))
    program = Program(practice.place)
    practice.fault("node2", "vllm/die_at_start", FAULT)
    assert program("up", "-i", practice.inventory).exit == 1
    before = practice.fingerprint()
    answer = program("diagnose", "-i", practice.inventory, "--json")
    assert practice.fingerprint() == before, "it only looks"
    assert answer.exit == 1, answer.text
    yield Failed(practice, program, answer.json())
    practice.reset()


def test_a_live_cluster(failed: Failed) -> None:
    told = failed.told

    assert (told["node"], told["process"], told["id"]) == ("node2", "worker1", "npu-out-of-memory")
    assert told["sentence"].startswith("worker1 on node2 ")
    assert "NPU out of memory" in told["proof"][0]["line"]
    assert [step["process"] for step in told["chain"]] == ["head"]
    assert (told["missing"], told["unreachable"], told["cluster"]) == ([], {}, "rehearsal")


def test_for_people(failed: Failed) -> None:
    answer = failed.program("diagnose", "-i", failed.practice.inventory)

    assert answer.stdout.splitlines()[0] == failed.told["sentence"]
    assert f"qnext-provision check -i {failed.practice.inventory}" in answer.stdout
    assert answer.stderr == ""


def test_two_execs_a_node(failed: Failed) -> None:
    before = failed.practice.execs("node1")

    failed.program("diagnose", "-i", failed.practice.inventory)

    assert failed.practice.execs("node1") - before <= 3, "the connection's first look, the facts, the logs"


def test_an_archive_and_its_unpacked_folder(failed: Failed, tmp_path: Path) -> None:
    archive = tmp_path / "evidence.tar.gz"
    collected = failed.program("logs", "collect", "-i", failed.practice.inventory, "-o", archive)
    assert collected.exit == 0, collected.text

    assert failed.same(failed.program("diagnose", archive, "--json").json())

    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert failed.same(failed.program("diagnose", tmp_path / "unpacked", "--json").json())


def test_the_run_that_failed(failed: Failed) -> None:
    answer = failed.program("diagnose", "--run", "latest", "--json")

    assert answer.exit == 1, answer.text
    assert (answer.json()["node"], answer.json()["id"]) == ("node2", "npu-out-of-memory")


def test_files_from_anywhere(failed: Failed, tmp_path: Path) -> None:
    for node, name in (("node1", "head"), ("node2", "worker1")):
        (tmp_path / node).mkdir()
        kept = (failed.program.last_run() / "logs" / node / f"{name}.log").read_text()
        unstamped = [line.partition(" ")[2] for line in kept.splitlines()]
        (tmp_path / node / f"{name}.log").write_text("\n".join(unstamped))

    told = failed.program("diagnose", tmp_path, "--json").json()

    assert (told["node"], told["process"], told["id"]) == ("node2", "worker1", "npu-out-of-memory")


def test_a_node_that_can_not_be_reached_any_more(failed: Failed) -> None:
    failed.practice.fault("node1", "ssh/stopped")
    try:
        answer = failed.program("diagnose", "-i", failed.practice.inventory, "--json")
    finally:
        failed.practice.mend("node1", "ssh/stopped")

    told = answer.json()
    assert (answer.exit, told["node"], told["id"]) == (1, "node2", "npu-out-of-memory")
    assert list(told["unreachable"]) == ["node1"]
    assert any("node1" in name for name in told["missing"])
    assert "node1" in answer.stderr


def test_a_part_of_the_cluster(failed: Failed) -> None:
    told = failed.program("diagnose", "-i", failed.practice.inventory, "--node", "node2", "--json").json()

    assert (told["node"], told["unreachable"]) == ("node2", {})
