"""The report of a run as JSON."""

from __future__ import annotations

import json
from typing import Any

from provision.cli.report import as_data
from provision.engine.run import RunReport
from provision.engine.state import TaskOutcome
from provision.errors import ConnectFailed, LaunchFailed
from provision.findings import Cell, CheckOutcome, Finding, Matrix, comparison
from provision.modules.base import Outcome
from provision.transport.base import Counters


def report(**changes: Any) -> RunReport:
    plain: dict[str, Any] = {
        "exit_code": 0, "summary": "", "counts": {}, "registered": {}, "outcomes": (), "facts": {}, "next": (),
        "phases": {}, "unreachable": {}, "errors": {},
    }  # fmt: skip
    return RunReport(**{**plain, **changes})


def data(made: RunReport) -> dict[str, Any]:
    """As a reader of the JSON gets it."""
    loaded: dict[str, Any] = json.loads(json.dumps(as_data(made, "up", "apply", "/runs/1", {"a": Counters(3, 1)})))
    return loaded


def test_checks_of_a_cluster_scoped_module_are_told_once() -> None:
    shared = Outcome("1 pass", checks=(CheckOutcome("disk", "N13", "pass", node="a"),))
    outcomes = tuple(TaskOutcome("p", "checks", "check", node, "ok", "1 pass", 0, shared) for node in ("a", "b"))

    told = data(report(outcomes=outcomes))

    assert [check["check"] for check in told["checks"]] == ["disk"]
    assert [task["node"] for task in told["tasks"]] == ["a", "b"]


def test_errors_carry_all_that_an_operator_needs() -> None:
    failed = LaunchFailed("head exited", node="a", hint="look", evidence="line")

    told = data(report(exit_code=1, errors={"": failed}, unreachable={"b": ConnectFailed("refused", node="b")}))

    assert told["errors"] == {
        "cluster": {"kind": "LaunchFailed", "message": "head exited", "node": "a", "hint": "look", "evidence": "line"}
    }
    assert told["unreachable"]["b"]["kind"] == "ConnectFailed"


def test_costs_and_times() -> None:
    told = data(report(phases={"connect": 0.12345}))

    assert told["execs"] == {"a": {"execs": 3, "connections": 1}}
    assert told["seconds"] == {"connect": 0.123}
    assert (told["command"], told["mode"], told["changed"], told["run_directory"]) == ("up", "apply", 0, "/runs/1")


def test_a_summary_of_the_checks_and_exhibits_that_say_what_they_are() -> None:
    failing = Finding("full", "make room", "a", level="fail", fix="tidy up")
    accepted = Finding("odd", "", "b", level="info", waived="known (until 2030-01-01)", fix="no")
    row, pairs = comparison("driver", {"a": "1", "b": "2"}), Matrix("m", "ms", ("a",), ("a",), ((Cell("self"),),))
    checks = (
        CheckOutcome("disk", "N13", "fail", (failing,), node="a"),
        CheckOutcome("disk", "N13", "waived", (accepted,), node="b"),
        CheckOutcome("same", "X03", "pass", exhibits=(row, pairs)),
    )
    outcomes = (TaskOutcome("p", "checks", "check", "a", "failed", "", 0, Outcome("", checks=checks)),)

    told = data(report(outcomes=outcomes))

    assert told["summary"] == {
        "checks": 2,
        "outcomes": 3,
        "by_status": {"fail": 1, "pass": 1},
        "worst": "fail",
        "findings": {"fail": 1, "warn": 0, "info": 0},
        "waived": 1,
        "mendable": 1,
    }
    kinds = [exhibit["kind"] for exhibit in told["checks"][2]["exhibits"]]
    assert kinds == ["comparison", "matrix"]
    assert told["checks"][2]["exhibits"][0]["values"] == [["1", ["a"]], ["2", ["b"]]]
    assert told["checks"][2]["exhibits"][1]["cells"] == [[{"state": "self", "value": None, "text": ""}]]


def test_a_run_without_checks_has_no_worst() -> None:
    assert data(report())["summary"]["worst"] is None
