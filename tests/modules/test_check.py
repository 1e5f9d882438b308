"""The check module: every check's outcome in one sentence, findings as they are."""

from __future__ import annotations

import pytest

from provision.checks import runner
from provision.checks.policy import Choice
from provision.checks.runner import CheckOutcome
from provision.errors import UsageError
from provision.findings import Finding
from provision.modules import check
from tests.modules.world import cluster, drive

BAD = Finding("too little", "add more", node="atlas-1", level="fail")


def test_counts_and_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    def node(node: object, choice: object) -> tuple[CheckOutcome, ...]:
        return (CheckOutcome("a", "N01", "pass"), CheckOutcome("b", "N02", "fail", (BAD,)))

    monkeypatch.setattr(runner, "run_node", node)
    monkeypatch.setattr(runner, "run_cluster", lambda *_: (CheckOutcome("c", "C01", "skipped"),))

    outcome = drive(check.run(check.Args(trials="never"), cluster())).outcome

    assert outcome.message == "2 pass, 2 fail, 1 skipped"
    assert outcome.findings == (BAD, BAD)
    assert len(outcome.checks) == 5


def test_a_quick_run_is_one_to_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def node(node: object, choice: Choice) -> tuple[CheckOutcome, ...]:
        seen.append(choice.quick)
        return ()

    monkeypatch.setattr(runner, "run_node", node)
    monkeypatch.setattr(runner, "run_cluster", lambda *_: ())
    for quick in (False, True):
        drive(check.run(check.Args(quick=quick, trials="never"), cluster()))
    assert seen == [False, False, True, True]


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        (check.Args(stage="launched"), {"no server of the cluster runs"}),
        (check.Args(only=["P01"]), {"no server of the cluster runs"}),
        (check.Args(only=["host_tcp"], trials="never"), {"trials are left out (--trials)"}),
        (check.Args(only=["disk"], stage="launched"), {"not of the stage launched (--stage)"}),
        (check.Args(only=["npu_free"]), {"it does not apply to cpu with the topology data-parallel"}),
    ],
    ids=str,
)
def test_what_was_asked_for_and_cannot_run_says_why(given: check.Args, reasons: set[str]) -> None:
    outcomes = drive(check.run(given, cluster())).outcome.checks

    assert {outcome.status for outcome in outcomes} == {"skipped"}
    assert {outcome.reason for outcome in outcomes} >= reasons


@pytest.mark.parametrize("given", [check.Args(only=["disk"], skip=["N13"]), check.Args(only=["S05"])], ids=str)
def test_a_choice_that_leaves_nothing_is_no_success(given: check.Args) -> None:
    with pytest.raises(UsageError, match="leave no check"):
        drive(check.run(given, cluster()))
