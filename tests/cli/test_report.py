"""The report of a run as JSON."""

from __future__ import annotations

import json
from typing import Any

from provision.checks.runner import CheckOutcome
from provision.cli.report import as_data
from provision.engine.run import RunReport
from provision.engine.state import TaskOutcome
from provision.errors import ConnectFailed, LaunchFailed
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
    shared = Outcome("1 pass", data={"checks": (CheckOutcome("disk", "N13", "pass", node="a"),)})
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
