"""A source install on practice nodes: built on one, shipped, installed on both; what goes wrong is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.practice import STATE, Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

PLAYBOOK = """\
summary: What is built from source, alone
plays:
  - name: packages
    hosts: all
    max_fail_percentage: 0
    tasks:
      - name: packages on every node
        source: {}
"""


@pytest.fixture
def source(a3: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The inventory of a source install; ``packages`` is the playbook with this module alone."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "packages.yaml").write_text(PLAYBOOK)
    monkeypatch.setenv("QNEXT_PLAYBOOKS", str(tmp_path / "own"))
    method = {"method": "source", "image": None, "mirrors": None, "source": {"release": "v0.18.0"}}
    yield a3.write_inventory(install=method)
    for node in a3.nodes:
        for path in ("usr/bin/cmake", "usr/bin/ninja", "usr/include/numa.h", "usr/include/python3.11/Python.h"):
            (a3.root(node) / path).unlink(missing_ok=True)


def one(practice: Practice, node: str, pattern: str) -> Path:
    """The one file or folder of a node's state folder."""
    (found,) = (practice.root(node) / STATE).glob(pattern)
    return found


def record(practice: Practice, node: str) -> dict[str, object]:
    said: dict[str, object] = json.loads(one(practice, node, "venvs/*/qnext.json").read_text())
    return said


def test_a_failed_build_is_named_and_gone_on_from_then_it_is_the_same_everywhere(
    a3: Practice, program: Program, source: Path
) -> None:
    plan = program("packages", "-i", source, "--check")
    assert plan.exit == 0, plan.text
    for words in ("build vllm v0.18.0 and vllm-ascend v0.18.0: node1", "take the wheels from node1: node2"):
        assert words in plan.text
    a3.fault("node1", "index/mirrors.huaweicloud.com", "down")
    failed = program("packages", "-i", source)
    assert failed.exit == 1
    assert "step 12 of 15, vllm-ascend with what it needs, failed with exit status 1" in failed.text
    assert "asked were pip's own index, https://mirrors.huaweicloud.com/ascend/repos/pypi" in failed.text
    assert not list((a3.root("node1") / STATE).glob("wheels/*"))

    a3.mend("node1", "index/mirrors.huaweicloud.com")
    built = program("packages", "-i", source)
    assert built.exit == 0, built.text
    log = one(a3, "node1", "rehearsal/jobs/build-*/log").read_text()
    assert "kept from an earlier attempt: vllm_ascend-0.18.0" in log
    assert record(a3, "node1")["id"] == record(a3, "node2")["id"]
    assert record(a3, "node2")["soc_version"] == "ascend910_9391"

    before = {node: a3.execs(node) for node in a3.nodes}
    again = program("packages", "-i", source)
    assert again.exit == 0, again.text
    assert "nothing changed" in again.text
    assert {node: a3.execs(node) - before[node] for node in a3.nodes} == dict.fromkeys(a3.nodes, 1)

    shutil.rmtree(a3.root("node1") / STATE / "venvs")
    shutil.rmtree(a3.root("node1") / STATE / "wheels")
    joined = program("packages", "-i", source)
    assert joined.exit == 0, joined.text
    assert "build vllm" not in joined.text, "node2 has the wheels"
    assert record(a3, "node1")["id"] == record(a3, "node2")["id"]


def test_what_the_guide_forgets_fails_on_practice_nodes_as_on_real_ones(
    a3: Practice, program: Program, source: Path
) -> None:
    a3.fault("node1", "git/submodules", "down")
    failed = program("packages", "-i", source)
    assert failed.exit == 1
    assert (
        "step 10 of 15, vllm-ascend source, failed with exit status 128: the repository cannot be reached"
        in failed.text
    )
    a3.mend("node1", "git/submodules")
    a3.fault("node1", "build/fails", "c++: fatal error: Killed signal terminated program cc1plus")
    killed = program("packages", "-i", source)
    assert "the compiler was killed for lack of memory" in killed.text
    assert "MAX_JOBS" in killed.text
    a3.mend("node1", "build/fails")
    a3.fault("node2", "python/version", "3.12.3")
    other = program("packages", "-i", source)
    assert other.exit == 1
    assert "node2: python3 is Python 3.12.3, and vllm-ascend v0.18.0 needs >=3.10,<3.12" in other.text
