from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.diagnose.diagnosis import Diagnosis, Evidence, ProcessLog
from provision.diagnose.examine import examine
from provision.diagnose.manifest import Manifest, NodeEntry, ProcessEntry

FILES = sorted((Path(__file__).parent / "timelines").glob("*.yaml"))
CASES = [case for file in FILES for case in yaml.safe_load(file.read_text(encoding="utf-8"))]
SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "samples" / "npu"


def evidence_of(case: dict[str, Any]) -> Evidence:
    nodes = tuple(
        NodeEntry(**{"index": index, "folder": f"worker-{index}", **node})
        for index, node in enumerate(case.get("nodes", ()))
    )
    processes = tuple(
        ProcessEntry(**{**process, "unit": tuple(process.get("unit", ()))}) for process in case.get("processes", ())
    )
    texts = {key: case.get(key, "") for key in ("error", "served_name")}
    manifest = Manifest(taken=case["taken"], nodes=nodes, processes=processes, **texts)
    return Evidence(manifest, tuple(ProcessLog(**log) for log in case["logs"]))


def told(found: Diagnosis, key: str) -> Any:
    """A field as the cases write it."""
    if key == "chain":
        return [[step.process, step.after] for step in found.chain]
    if key == "proof":
        return [[proof.process, proof.source, proof.time] for proof in found.proof]
    if key in ("silent", "late", "earliest"):
        return [one.process for one in getattr(found, key)]
    value = getattr(found, key)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_timeline(case: dict[str, Any]) -> None:
    found = examine(evidence_of(case))
    wanted = dict(case["wanted"])
    for part in wanted.pop("sentence", ()):
        assert part in found.sentence
    assert {key: told(found, key) for key in wanted} == wanted
    assert found.sentence
    assert "\n" not in found.sentence


def test_the_same_text_without_clocks_is_in_another_order() -> None:
    """The first case of loudest.yaml is decided by the clocks alone."""
    case = CASES[[c["name"].startswith("the loudest") for c in CASES].index(True)]
    blind = {**case, "nodes": [{"name": node["name"]} for node in case["nodes"]]}
    found = examine(evidence_of(blind))
    assert found.node == "atlas-1"
    assert found.confidence == "medium"
    assert "How far the clocks of atlas-1, atlas-2, atlas-3 are off was not measured." in found.explanation


def test_a_proof_can_be_found_again() -> None:
    text = "INFO 11-24 06:00:00 [a.py:1] x\nERROR 11-24 06:03:01 [a.py:1] RuntimeError: NPU out of memory. x\nmore\n"
    log = ProcessLog("n", "head", text, 1, path="worker-0/head.log", zone=3600.0)
    proof = examine(Evidence(Manifest(taken=1795500600), (log,))).proof[0]
    assert (proof.path, proof.number, proof.time) == ("worker-0/head.log", 2, "11-24 06:03:01")
    assert proof.at == 1795500000 - 3600 + 181
    assert proof.excerpt == text.rstrip("\n")


def test_december_is_last_years_where_it_was_taken_in_january() -> None:
    logs = (
        ProcessLog("n", "head", "ERROR 01-01 00:00:05 [a.py:1] ValueError: later\n"),
        ProcessLog("n", "worker1", "ERROR 12-31 23:59:58 [a.py:1] KeyError: 'first'\n"),
    )
    found = examine(Evidence(Manifest(taken=1798761700), logs))  # 2027-01-01 00:01:40 UTC
    assert found.process == "worker1"
    assert [step.after for step in found.chain] == [7.0]


def test_a_quoted_time_does_not_move_a_line() -> None:
    text = (
        "INFO 11-24 06:03:00 [a.py:1] x\n"
        "2020-01-01 00:00:00 build of libfoo: RuntimeError: NPU out of memory. Tried\n"
        "INFO 11-24 06:03:02 [a.py:1] y\n"
    )
    found = examine(Evidence(Manifest(taken=1795500600), (ProcessLog("n", "head", text, 1),)))
    assert found.proof[0].time == "11-24 06:03:00"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the recorded samples in ../shared/samples/npu")
def test_a_recorded_plog_tells_when_its_wait_began() -> None:
    text = (SAMPLES / "plog_hccl_link_error_info_2026.txt").read_text(encoding="utf-8")
    text = (
        text
        + "[INFO] HCCL(1,python3):2026-03-18-10:33:53.000.000 [a.cc:1]Entry-HcclCommInitRootInfo:ranks[2], rank[1]\n"
    )
    quiet = ProcessLog("atlas-1", "head", "INFO 03-18 10:31:00 [a.py:1] start\n")
    said = ProcessLog("atlas-2", "worker1", text, rank=1, source="plog")
    found = examine(Evidence(Manifest(taken=1773900000), (quiet, said)))
    assert (found.process, found.id) == ("head", "hccl-link-timeout")
    assert "waited for it from 10:31:52 on and failed at 10:33:52" in found.sentence


def test_a_node_alone_tells_of_its_fault() -> None:
    text = "[Tue Nov 24 06:03:00 2026] x\n[Tue Nov 24 06:03:01 2026] Out of memory: Killed process 12 (python3) y\n"
    found = examine(Evidence(Manifest(), (ProcessLog("atlas-1", "", text, source="kernel"),)))
    assert (found.failed, found.id, found.node, found.process) == (True, "host-out-of-memory", "atlas-1", "")
    assert found.sentence.startswith("atlas-1 failed at 06:03:01: ")


def test_an_engine_that_was_shut_down_did_not_die() -> None:
    died = "ERROR 05-12 11:36:01 [core_client.py:704] Engine core proc EngineCore died unexpectedly, shutting down.\n"
    calm = "(EngineCore pid=970) INFO 05-12 11:36:00 [core.py:1224] Shutdown complete\n"
    assert not examine(Evidence(Manifest(), (ProcessLog("n", "offline", calm + died),))).failed
    assert examine(Evidence(Manifest(), (ProcessLog("n", "head", died),))).failed


@settings(database=None)
@given(
    st.lists(
        st.tuples(
            st.text(),
            st.none() | st.integers(0, 255),
            st.sampled_from(["stdout", "plog", "kernel"]),
            st.sampled_from(["head", "worker1", ""]),
        ),
        max_size=3,
    ),
    st.text(max_size=5),
)
def test_no_evidence_breaks_it(logs: list[tuple[str, int | None, Any, str]], error: str) -> None:
    made = tuple(ProcessLog("n", name, text, code, source=source) for text, code, source, name in logs)
    assert examine(Evidence(Manifest(error=error), made)).sentence


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        (
            "RuntimeError: NPU out of memory. Tried to allocate 2 GiB",
            ("qnext-provision check -i cluster.yaml --only N09,P05", "qnext-provision explain npu-out-of-memory"),
        ),
        ("ValueError: odd", ("qnext-provision logs -i cluster.yaml --process head",)),
    ],
)
def test_what_to_run_next(text: str, commands: tuple[str, ...]) -> None:
    assert examine(Evidence(Manifest(), (ProcessLog("atlas-1", "head", text, 1),))).commands == commands
