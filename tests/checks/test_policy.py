"""Whose judgement counts: the check's, the playbook's, the inventory's; and what is waived until when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import Field

from provision import registry
from provision.checks import runner
from provision.checks.base import CheckArgs, CheckSpec, Finding
from provision.checks.policy import Choice, known_word, policy, today
from provision.errors import ConfigError

from . import world


class Room(CheckArgs):
    """Thresholds."""

    least: int = Field(10, ge=0, description="GB")
    most: int | None = Field(None, ge=0, description="GB; default: any")


def too_little(args: Room, node: Any) -> Iterable[Finding]:
    yield Finding(f"less than {args.least} GB", "make room", observed="disk /dev/sda1")


SPEC = CheckSpec("room", "There is room.", "T01", "fail", "node", lambda s: True, lambda s: (), too_little, Room)


@pytest.fixture(autouse=True)
def one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "checks", lambda: (SPEC, replace(SPEC, name="deep", code="T02", deep=True)))


def outcome(choice: Choice | None = None, **settings: Any) -> Any:
    node: Any = world.healthy(0, world.settings(**settings))
    return runner.run_node(node, choice or Choice(only=("room",)))[0]


def waiver(days: int, **more: str) -> dict[str, Any]:
    return {"waive": {"T01": {"reason": "a new disk comes", "until": today() + timedelta(days=days), **more}}}


def test_the_inventory_is_stronger_than_the_playbook_and_that_than_the_check() -> None:
    judged = Choice(only=("room",), judge={"room": {"least": 20, "level": "warn"}})
    assert outcome().findings[0].summary == "less than 10 GB"
    assert (outcome(judged).findings[0].summary, outcome(judged).status) == ("less than 20 GB", "warn")
    for word in ("room", "T01"):
        stronger = outcome(judged, checks={word: {"level": "fail", "least": 30}})
        assert (stronger.findings[0].summary, stronger.status) == ("less than 30 GB", "fail")


def test_the_inventory_takes_back_a_threshold_of_the_playbook() -> None:
    given = policy(world.settings(checks={"room": {"most": None}}), {"room": {"most": 5, "least": 1}})
    assert given.args(SPEC) == Room(least=1, most=None)


def test_a_nodes_own_judgement_counts_for_what_compares_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A waiver under a host is for that host, whichever of its nodes the check began with."""
    nodes = [world.healthy(0, world.settings()), world.healthy(1, world.settings(**waiver(3)))]
    of_each = replace(SPEC, scope="cluster", run=lambda _, c: [Finding("odd", "mend it", node=n.name) for n in c.nodes])
    monkeypatch.setattr(registry, "checks", lambda: (of_each,))
    (outcome,) = runner.run_cluster(world.cluster(*nodes))
    assert [(f.node, f.level, bool(f.waived)) for f in outcome.findings] == [
        ("atlas-1", "fail", False),
        ("atlas-2", "info", True),
    ]


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ({"room": {"lest": 1}}, r"qnext\.checks\.room\.lest: has no such threshold"),
        ({"room": {"least": -1}}, r"qnext\.checks\.room\.least: Input should be greater"),
        ({"room": {"level": "loud"}}, r"qnext\.checks\.room: 'loud' is no level"),
        ({"rom": "warn"}, "no check is named 'rom'"),
    ],
)
def test_a_wrong_judgement_is_refused(checks: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        policy(world.settings(checks=checks))
    assert caught.value.hint


def test_a_waived_finding_is_shown_and_stops_nothing() -> None:
    found = outcome(**waiver(0))
    assert found.status == "waived"
    assert found.findings[0].level == "info"
    assert found.findings[0].waived.startswith("a new disk comes (until 20")


def test_a_waiver_ends() -> None:
    found = outcome(**waiver(-1))
    assert (found.status, found.findings[0].waived) == ("fail", "")
    assert "its waiver ended on" in found.findings[0].summary


def test_a_waiver_may_mean_some_findings_only() -> None:
    assert outcome(**waiver(1, finding="/dev/sda1")).status == "waived"
    assert outcome(**waiver(1, finding="/dev/sdb1")).status == "fail"


def test_a_waiver_of_an_unknown_check_is_refused_with_its_place() -> None:
    own = world.settings(waive={"rooms": {"reason": "whatever", "until": today()}})
    with pytest.raises(ConfigError, match=r"qnext\.waive: no check is named 'rooms'"):
        runner.run_static(world.inventory(own))


def test_only_and_skip_go_by_name_and_code_and_deep_ones_are_asked_for() -> None:
    deep = replace(SPEC, name="deep", code="T02", deep=True)
    assert [Choice().wants(spec) for spec in (SPEC, deep)] == [True, False]
    assert [Choice(deep=True).wants(spec) for spec in (SPEC, deep)] == [True, True]
    assert [Choice(only=("t02",)).wants(spec) for spec in (SPEC, deep)] == [False, True]
    assert [Choice(skip=("T01",), deep=True).wants(spec) for spec in (SPEC, deep)] == [False, True]
    assert (known_word("ROOM"), known_word("t01"), known_word("S04")) == ("room", "room", "s04")


def test_a_quick_run_leaves_out_the_thorough_ones_unless_named() -> None:
    thorough = replace(SPEC, thorough=True)
    assert [Choice(quick=quick).wants(thorough) for quick in (False, True)] == [True, False]
    assert Choice(quick=True).wants(SPEC)
    assert Choice(only=("T01",), quick=True).wants(thorough)
    assert not Choice(only=("T01",), skip=("room",)).wants(thorough)
