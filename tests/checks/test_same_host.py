"""Sizes that are nearly alike, and what another check judges."""

from __future__ import annotations

from typing import Any

import pytest

from provision.checks import runner
from provision.checks.policy import Choice
from provision.findings import CheckOutcome, Comparison
from tests.checks.world import GIB, pair


def compared(two: Any) -> CheckOutcome:
    (outcome,) = runner.run_cluster(two, Choice(only=("same_host",)))
    return outcome


@pytest.mark.parametrize(("total", "same"), [(1024, True), (1009, True), (900, False), (512, False)])
def test_main_memory_may_differ_by_what_firmware_keeps(total: int, same: bool) -> None:
    two = pair()
    two.nodes[1].alter("memory", total=total * GIB)
    outcome = compared(two)
    assert (outcome.status == "pass") is same, outcome
    if not same:
        assert outcome.findings[0].summary == (
            f"main memory is not the same everywhere: 1024 GB on atlas-1; {total} GB on atlas-2"
        )


def test_what_the_check_of_a_node_judges_is_a_row_and_no_finding() -> None:
    two = pair()
    sysctl = two.nodes[1].facts["sysctl"]
    two.nodes[1].alter("sysctl", values={**sysctl.values, "vm.swappiness": "60"})
    outcome = compared(two)
    (row,) = (r for r in outcome.exhibits if isinstance(r, Comparison) and r.subject == "vm.swappiness")
    assert (outcome.findings, row.same, row.level) == ((), False, "info")


def test_a_parameter_that_nobody_judges_is_told_with_the_command() -> None:
    two = pair()
    for node, value in zip(two.nodes, ("4096", "128"), strict=True):
        node.alter("sysctl", values={**node.facts["sysctl"].values, "net.core.somaxconn": value})
    (finding,) = compared(two).findings
    assert finding.remedy.startswith("sysctl -w net.core.somaxconn=")


def test_what_a_node_does_not_tell_is_not_compared() -> None:
    two = pair()
    two.nodes[1].alter("cpu", count=None, model="")
    two.nodes[1].alter("clock", utc_offset="")
    assert compared(two).status == "pass"
