"""``check --fix``: shown first, agreed to, done once; what it changed outside of our folder ``down`` puts back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

MAPS = "proc/sys/vm/max_map_count"
IMAGE = "quay.io/rehearsal/vllm-cpu:v0.18.0"
ONLY = ("--only", "leftovers", "--only", "limits")
PLANNED = (
    "sysctl -w vm.max_map_count=262144 (was 65000)",
    "remove /dev/shm/psm_8f2d11a7, /dev/shm/sem.mp-x7k2q9vd",
    "docker rm qnext-rehearsal-old",
)


@pytest.fixture
def ill(cpu: Practice) -> Iterator[Practice]:
    """A second node with all of our own leftovers, a foreign process, and a parameter that is too low."""
    cpu.fault("node2", "shm/leftover")
    cpu.fault("node2", "container/dead", "rehearsal")
    cpu.fault("node2", "sysctl/vm.max_map_count", "65000")
    cpu.fault("node2", "process/vllm")
    yield cpu
    (cpu.root("node2") / "dev/shm/plasma_store").unlink(missing_ok=True)


def shared_memory(practice: Practice, node: str) -> list[str]:
    return sorted(path.name for path in Path(practice.root(node), "dev/shm").iterdir())


def value(practice: Practice) -> str:
    return (practice.root("node2") / MAPS).read_text().strip()


@pytest.mark.parametrize(("words", "status"), [((), 2), (("--check",), 0)], ids=["nobody to ask", "a plan"])
def test_without_consent_the_plan_is_shown_and_nothing_is_changed(
    ill: Practice, program: Program, words: tuple[str, ...], status: int
) -> None:
    before = ill.fingerprint()

    answer = program("check", "-i", ill.inventory, *ONLY, "--fix", *words)

    assert answer.exit == status, answer.text
    assert [text for text in PLANNED if text not in answer.stderr] == []
    assert ill.fingerprint() == before
    assert (value(ill), len(shared_memory(ill, "node2"))) == ("65000", 2)
    if status == 2:
        assert "pass --yes" in answer.stderr


def test_what_is_mended_stays_mended_until_down_puts_it_back(ill: Practice, program: Program) -> None:
    ill.docker("node2", "run", "-d", "--name", "neighbour", IMAGE, "false")
    (ill.root("node2") / "dev/shm/plasma_store").write_text("not ours to judge\n")

    mended = program("check", "-i", ill.inventory, *ONLY, "--fix", "--yes")

    assert mended.exit == 0, mended.text
    assert value(ill) == "262144"
    assert shared_memory(ill, "node2") == ["plasma_store"]
    assert ill.containers("node2") == ["neighbour"], "only what carries our label goes"
    last = mended.stderr.split("== checks")[-1]
    assert "max_map_count" not in last
    assert "/dev/shm" not in last
    assert "1 server process runs outside of containers" in last, "processes are told, never ended"

    again = program("check", "-i", ill.inventory, *ONLY, "--fix", "--yes", "--json")
    assert again.exit == 0, again.text
    assert again.json()["changed"] == 0

    down = program("down", "-i", ill.inventory, "--yes")
    assert down.exit == 0, down.text
    assert value(ill) == "65000"
    assert not (ill.root("node2") / "var/lib/qnext").exists()


def test_what_somebody_set_since_is_theirs(ill: Practice, program: Program) -> None:
    assert program("check", "-i", ill.inventory, "--only", "limits", "--fix", "--yes").exit == 0
    (ill.root("node2") / MAPS).write_text("1048576\n")

    assert program("down", "-i", ill.inventory, "--yes").exit == 0

    assert value(ill) == "1048576"


def test_a_folder_that_docker_made_goes_where_it_is_empty(a3: Practice, program: Program) -> None:
    a3.fault("node2", "mount/hccn.conf", "folder")
    folder = a3.root("node2") / "etc/hccn.conf"
    (folder / "kept").write_text("somebody's\n")

    refused = program("check", "-i", a3.inventory, "--only", "mounts", "--fix", "--yes")
    assert refused.exit == 1, refused.text
    assert "not empty" in refused.stderr
    assert (folder / "kept").exists()

    (folder / "kept").unlink()
    mended = program("check", "-i", a3.inventory, "--only", "mounts", "--fix", "--yes")
    assert mended.exit == 0, mended.text
    assert not folder.exists()
