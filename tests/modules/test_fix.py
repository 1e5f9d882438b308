"""The fix module: only what findings offer to mend, by the check's own actions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from provision import registry
from provision.actions import Run
from provision.checks.base import CheckSpec, Finding
from provision.inventory.model import Waiver
from provision.modules import fix
from tests.modules.world import cluster, drive, settings


def sweep(args: Any, node: Any, findings: tuple[Finding, ...]) -> Iterator[Run]:
    for finding in findings:
        yield Run(label=finding.fix, script="rm -f /dev/shm/ours")


def spec(name: str, finding: Finding, mend: Any = sweep) -> CheckSpec:
    return CheckSpec(
        name, "Rule.", name.upper(), "fail", "node", lambda s: True, lambda s: (), lambda a, n: [finding], fix=mend
    )


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "a": spec("a", Finding("left over", "remove it", fix="remove /dev/shm/ours")),
        "b": spec("b", Finding("foreign", "ask its owner")),
        "c": spec("c", Finding("no fix", "by hand", fix="never"), None),
    }
    monkeypatch.setattr(registry, "checks", lambda: tuple(known.values()))
    monkeypatch.setattr(registry, "check", lambda name: known[name])


@pytest.mark.usefixtures("checks")
def test_only_offered_fixes_are_done() -> None:
    done = drive(fix.run(fix.Args(), cluster().nodes[0]))
    assert [action.label for action in done.actions] == ["remove /dev/shm/ours"]
    assert done.outcome.message == "mended: remove /dev/shm/ours"


@pytest.mark.usefixtures("checks")
def test_nothing_to_mend() -> None:
    done = drive(fix.run(fix.Args(only=["b"]), cluster().nodes[0]))
    assert (done.actions, done.outcome.message) == ([], "nothing that is safe to mend")


@pytest.mark.usefixtures("checks")
def test_what_the_operator_accepts_is_left_alone() -> None:
    waiver = Waiver(reason="a test of ours keeps it", until=date(9999, 12, 31))
    own = settings().model_copy(update={"waive": {"a": waiver}})
    done = drive(fix.run(fix.Args(), cluster(own).nodes[0]))
    assert (done.actions, done.outcome.message) == ([], "nothing that is safe to mend")


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("level", ["off", "info", {"level": "info"}])
def test_what_the_playbook_switches_off_or_only_wants_told_is_not_mended(level: Any) -> None:
    done = drive(fix.run(fix.Args(judge={"a": level}), cluster().nodes[0]))
    assert (done.actions, done.outcome.message) == ([], "nothing that is safe to mend")
