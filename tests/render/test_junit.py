"""The JUnit file: what CI servers read in common, of any text."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.events import Event, NodeUnreachable, RunEnded, RunStarted, TaskEnded, TaskStarted
from provision.findings import CheckOutcome, CheckStatus, Finding, Level
from provision.render.junit import CLUSTER, JUnit, document, of_check
from tests.render.examples import NODES, SCRIPT, run

RESULTS = ("failure", "error", "skipped")


def written(events: list[Event], tmp_path: Path) -> Xml.Element:
    path = tmp_path / "junit.xml"
    sink = JUnit(path)
    for event in events:
        sink.handle(event)
    sink.close()
    return judged(path.read_bytes())


def judged(text: bytes) -> Xml.Element:
    """The document, held against the rules that readers of JUnit share."""
    root = Xml.fromstring(text)
    assert root.tag == "testsuites"
    suites = list(root)
    assert {suite.tag for suite in suites} <= {"testsuite"}
    assert len({suite.get("name") for suite in suites}) == len(suites)
    for suite in suites:
        _judge_suite(suite)
    for count in ("tests", "failures", "errors"):
        assert int(root.attrib[count]) == sum(int(suite.attrib[count]) for suite in suites)
    return root


def _judge_suite(suite: Xml.Element) -> None:
    cases = list(suite)
    assert {case.tag for case in cases} <= {"testcase"}
    assert int(suite.attrib["tests"]) == len(cases)
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[count]) == sum(case.find(tag) is not None for case in cases)
    assert float(suite.attrib["time"]) >= 0
    assert len(suite.attrib["timestamp"]) == 19
    for case in cases:
        assert case.get("classname")
        assert case.get("name")
        assert float(case.attrib["time"]) >= 0
        assert [child.tag for child in case if child.tag in RESULTS] == [c.tag for c in case if c.tag != "system-out"]
        assert sum(child.tag in RESULTS for child in case) <= 1
        assert all("message" in child.attrib for child in case if child.tag in RESULTS)


def cases(root: Xml.Element, suite: str) -> dict[str, Xml.Element]:
    found = next(element for element in root if element.get("name") == suite)
    return {f"{case.get('classname')} {case.get('name')}": case for case in found}


def test_a_run_of_check(tmp_path: Path) -> None:
    root = written(run(), tmp_path)
    assert [suite.get("name") for suite in root] == [CLUSTER, *NODES]
    assert root[0].get("timestamp") == "2026-11-24T09:47:03"

    ill = cases(root, "atlas-2")["N07 npu_health"]
    failure = ill.find("failure")
    assert failure is not None
    assert failure.get("message") == "davinci 3: health is Alarm"
    assert failure.text == (
        "fail N07 atlas-2: davinci 3: health is Alarm\n"
        "  observed: Alarm\n  expected: OK\n  remedy: npu-smi info -t health -i 1 -c 1"
    )
    assert ill.get("time") == "0.500"
    assert len(cases(root, "atlas-2")["N01 identity"]) == 0


def test_what_does_not_fail_is_output(tmp_path: Path) -> None:
    root = written(run(), tmp_path)
    warned, waived = cases(root, "atlas-5")["N23 limits"], cases(root, "atlas-5")["N19 firewall"]
    assert [child.tag for child in warned] == [child.tag for child in waived] == ["system-out"]
    assert "waived: ticket 4711 (until 2030-01-01)" in (waived[0].text or "")
    of_all = cases(root, CLUSTER)
    assert [of_all[name][0].tag for name in ("N17 hostname", "X05 same_tls", "X03 same_driver")] == [
        "error",
        "skipped",
        "failure",
    ]
    assert of_all["X05 same_tls"][0].get("message") == "the image is not there yet"


def test_texts_are_escaped(tmp_path: Path) -> None:
    held = cases(written(run(), tmp_path), "atlas-4")["N09 npu_free"][0]
    assert SCRIPT in (held.get("message") or "")


def test_a_task_of_checks_is_no_case_of_its_own_and_others_are(tmp_path: Path) -> None:
    events: list[Event] = [
        RunStarted(run="1", command="up", inventory="c", nodes=("a", "b"), mode="apply", directory=""),
        NodeUnreachable(node="b", reason="refused", hint="start sshd"),
        TaskStarted(task="observe", module="facts", nodes=("a",)),
        TaskEnded(node="a", task="observe", status="ok"),
        TaskStarted(task="start", module="start", nodes=("a",)),
        TaskEnded(node="a", task="start", status="failed", message="head exited", hint="look", evidence="EI0006"),
        TaskEnded(node="a", task="stop", status="skipped"),
        TaskEnded(node="", task="prove", status="ok", message="32 tokens", seconds=2),
        RunEnded(exit_code=1, seconds=1),
    ]
    root = written(events, tmp_path)
    assert list(cases(root, "a")) == ["task start", "task stop"]
    assert cases(root, "a")["task start"][0].text == "head exited\nremedy: look\nEI0006"
    assert cases(root, "b")["node connection"][0].get("message") == "refused"
    assert cases(root, CLUSTER)["task prove"][0].text == "32 tokens"
    assert not any("checks" in name for node in NODES for name in cases(written(run(), tmp_path), node))


@pytest.mark.parametrize("events", [[], run(ends=False)], ids=["never began", "interrupted"])
def test_a_run_that_broke_off_is_an_error(events: list[Event], tmp_path: Path) -> None:
    ended = cases(written(events, tmp_path), CLUSTER)["run end"]
    assert ended[0].tag == "error"


def test_a_run_that_failed_for_what_is_no_case_is_an_error(tmp_path: Path) -> None:
    stopped = RunEnded(exit_code=130, seconds=1, summary="stopped by the operator")
    ended = cases(written([run()[0], stopped], tmp_path), CLUSTER)["run end"]
    assert ended[0].get("message") == "stopped by the operator"
    done = written([run()[0], RunEnded(exit_code=0, seconds=1)], tmp_path)
    assert done.get("tests") == "0"


@given(st.text(), st.text(), st.sampled_from(["pass", "waived", "warn", "fail", "skipped", "unknown"]))
def test_any_text_makes_a_document(one: str, other: str, status: CheckStatus) -> None:
    level: Level = "fail" if status == "fail" else "warn"
    finding = Finding(one, other, one, other, one, level=level, waived=other)
    outcome = CheckOutcome("c", "N01", status, (finding,), node=other, reason=one)
    judged_names = {suite.get("name") for suite in Xml.fromstring(document([of_check(outcome)], None, 0.0))}
    assert CLUSTER in judged_names


def test_control_characters_and_surrogates_are_left_out() -> None:
    outcome = CheckOutcome("c", "N01", "skipped", reason="\x00a\x1b[1mb\x1b[0m\ud800\ufffe\u2028c")
    root = judged(document([of_check(outcome)], None, 0.0))
    assert root[0][0][0].get("message") == "ab\u2028c"
