"""Levels, skipping, hanging and crashing: what the runner makes of what checks do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from provision import registry
from provision.checks import runner
from provision.checks.base import CheckSpec, Finding
from provision.checks.policy import Choice
from provision.checks.support import CannotTell, Skip
from provision.errors import ConfigError, ConnectionLost, SudoRefused, Unknown
from provision.serve import lint

from . import world

Run = Callable[[Any], Iterable[Finding]]


def _without_args(run: Run) -> Callable[[Any, Any], Iterable[Finding]]:
    return lambda _, subject: run(subject)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace all checks by these, named one, two…"""

    def put(*runs: Run, level: Any = "fail") -> None:
        names = ("one", "two", "three")
        specs = tuple(
            CheckSpec(name, "", f"T0{n}", level, "node", lambda settings: True, lambda settings: (), _without_args(run))
            for n, (name, run) in enumerate(zip(names, runs, strict=False), 1)
        )
        monkeypatch.setattr(registry, "checks", lambda: specs)

    return put


def outcomes(**levels: Any) -> tuple[runner.CheckOutcome, ...]:
    return runner.run_node(world.healthy(0, world.settings(checks=levels)))  # type: ignore[arg-type]


def finds(level: Any = "fail", observed: str = "") -> Run:
    return lambda node: [Finding("wrong", "mend it", observed=observed, level=level)]


def fails(error: Exception) -> Run:
    def run(node: Any) -> Iterable[Finding]:
        raise error

    return run


@pytest.mark.parametrize(
    ("check", "finding", "operator", "status"),
    [
        ("fail", "fail", None, "fail"),
        ("fail", "warn", None, "warn"),
        ("warn", "fail", None, "warn"),
        ("fail", "fail", "warn", "warn"),
        ("warn", "fail", "fail", "fail"),
        ("fail", "fail", "info", "pass"),
        ("fail", "fail", "off", "skipped"),
    ],
)
def test_the_weaker_of_check_and_finding_counts_and_the_operator_sets_the_check(
    only: Callable[..., None], check: Any, finding: Any, operator: str | None, status: str
) -> None:
    only(finds(finding), level=check)
    (by_name,) = outcomes(**({"one": operator} if operator else {}))
    (by_code,) = outcomes(**({"T01": operator} if operator else {}))
    assert by_name.status == by_code.status == status
    assert by_name.node == "atlas-1"


def test_findings_are_filled_in(only: Callable[..., None]) -> None:
    only(finds())
    (finding,) = outcomes()[0].findings
    assert (finding.node, finding.check, finding.code, finding.level) == ("atlas-1", "one", "T01", "fail")


def test_a_skipped_check_says_why(only: Callable[..., None]) -> None:
    only(fails(Skip("no docker")))
    (outcome,) = outcomes()
    assert (outcome.status, outcome.reason, outcome.findings) == ("skipped", "no docker", ())


def test_a_hanging_probe_is_told_once_and_fails(only: Callable[..., None]) -> None:
    hung = CannotTell("model-folder", "no answer within 60 s")
    only(fails(hung), fails(hung), fails(CannotTell("disk", "no answer within 10 s")))
    first, second, third = outcomes()
    assert "the probe model-folder: no answer within 60 s" in first.findings[0].summary
    assert (first.status, second.status, second.findings, third.status) == ("fail", "unknown", (), "fail")


def test_a_crash_is_a_warning_and_the_others_go_on(only: Callable[..., None]) -> None:
    only(fails(ZeroDivisionError("oops")), finds())
    first, second = outcomes()
    assert first.status == "unknown"
    assert first.findings[0].level == "warn"
    assert first.findings[0].summary == "could not be checked: ZeroDivisionError: oops"
    assert second.status == "fail"


def test_what_was_found_before_a_crash_is_kept(only: Callable[..., None]) -> None:
    def run(node: Any) -> Iterable[Finding]:
        yield Finding("wrong", "mend it")
        raise ValueError("oops")

    only(run)
    assert [finding.level for finding in outcomes()[0].findings] == ["fail", "warn"]


def test_a_refusal_of_the_node_is_told_once_with_its_hint(only: Callable[..., None]) -> None:
    refused = SudoRefused("sudo wants a password", hint="set ansible_become_password", node="atlas-1")
    only(fails(refused), fails(refused))
    first, second = outcomes()
    assert (first.status, second.status) == ("fail", "unknown")
    assert first.findings[0].remedy == "set ansible_become_password"


def test_a_broken_connection_is_no_finding(only: Callable[..., None]) -> None:
    only(fails(ConnectionLost("gone")))
    with pytest.raises(ConnectionLost):
        outcomes()


def test_what_a_plan_cannot_know_is_unknown(only: Callable[..., None]) -> None:
    only(fails(Unknown("known only after: pull")))
    assert [(o.status, o.findings) for o in outcomes()] == [("unknown", ())]


@pytest.mark.parametrize("key", ["prots", "N99", "S77"])
def test_an_unknown_check_is_refused_before_anything_is_looked_at(key: str) -> None:
    own = world.settings(checks={key: "warn"})
    for run in (lambda: runner.required_facts(own), lambda: runner.run_static(world.inventory(own))):
        with pytest.raises(ConfigError, match=f"no check is named '{key}'"):
            run()


def test_a_slip_of_the_pen_is_answered_with_the_name_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        runner.required_facts(world.settings(checks={"prots": "warn"}))
    assert caught.value.hint == "did you mean 'ports'?"


def test_names_may_be_written_with_dashes_and_codes_in_any_case() -> None:
    runner.required_facts(world.settings(checks={"npu-free": "warn", "n05": "off", "S04": "warn"}))


def test_facts_are_asked_for_once_and_only_where_a_check_needs_them() -> None:
    facts = runner.required_facts(world.settings())
    assert len(facts) == len(set(facts))
    on_cpu = {fact.name for fact in runner.required_facts(world.settings("cpu"))}
    assert not on_cpu & {"npu-smi", "npu-smi-mapping", "davinci", "hccn", "driver", "mount-sources"}
    without = {fact.name for fact in runner.required_facts(world.settings("cpu", checks={"leftovers": "off"}))}
    assert on_cpu - without == {"processes", "shared-memory", "listing"}


def test_a_quick_run_asks_nothing_of_thorough_checks() -> None:
    whole, quick = (
        {fact.name for fact in runner.required_facts(world.settings(), Choice(quick=quick))} for quick in (False, True)
    )
    assert {"npu-detail", "kernel-log"} <= whole - quick
    assert {"npu-smi", "pci", "docker"} <= quick


def test_checks_look_at_no_fact_that_they_did_not_ask_for() -> None:
    for hardware in ("atlas-800-a3", "atlas-800-a2", "cpu"):
        own = world.settings(hardware)  # type: ignore[arg-type]
        asked = {fact.name for fact in runner.required_facts(own)}
        two = world.pair(own)
        assert set(two.nodes[0].facts) <= asked | world.WHEN_NEEDED
        assert not asked & world.WHEN_NEEDED
        for node in two.nodes:
            node.facts = {name: value for name, value in node.facts.items() if name in asked}
        found = [*runner.run_node(two.nodes[0]), *runner.run_cluster(two)]
        assert [o for o in found if o.status not in ("pass", "skipped")] == []


def test_a_sound_layout_has_no_finding() -> None:
    assert [f for f in runner.run_static(world.inventory(world.settings())) if f.level == "fail"] == []


def test_layout_rules_keep_their_codes_and_can_be_levelled_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def sixteen(**levels: Any) -> Any:
        serve = world.Serve(topology="tensor-parallel", tensor_parallel_size=16)
        profile = world.Model(path=world.MODEL, profile="qwen3-next-80b-a3b-instruct")
        return world.inventory(world.settings(serve=serve, model=profile, checks=levels))

    found = runner.run_static(sixteen())
    assert found[0].level == "fail"
    assert "S04" in {finding.code for finding in found}
    assert all(finding.remedy for finding in found)
    lowered = {finding.code: finding.level for finding in runner.run_static(sixteen(S04="warn"))}
    assert lowered["S04"] == "warn"
    assert lint.RULES
