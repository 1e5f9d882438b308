"""No check without proof: a world in which it passes, one in which it finds something, and a fault that triggers it."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from provision import registry
from provision.checks import runner
from provision.checks.base import CheckSpec
from provision.checks.policy import Choice
from provision.findings import CheckOutcome
from provision.rehearsal.faults import FAULTS
from tests.checks.proof import Proof, Trial
from tests.checks.trying import driven

CHECKS = {spec.name: spec for spec in registry.checks()}
FOLDER = Path(__file__).parent / "proof"


def proof_of(name: str) -> Proof:
    proof = importlib.import_module(f"tests.checks.proof.{name}").PROOF
    assert isinstance(proof, Proof)
    return proof


def outcomes(spec: CheckSpec, subject: Any) -> tuple[CheckOutcome, ...]:
    """What the runner makes of this check alone."""
    choice = Choice(only=(spec.name,))
    if isinstance(subject, Trial):
        return driven(runner.run_trials(subject.cluster, choice), subject.answer)
    runs = {
        "static": runner.static_outcomes,
        "node": runner.run_node,
        "cluster": runner.run_cluster,
        "launched": runner.run_launched,
    }
    return runs[spec.scope](subject, choice)


def test_every_check_has_its_proof_and_every_proof_its_check() -> None:
    assert {path.stem for path in FOLDER.glob("[a-z]*.py")} == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_it_passes_where_all_is_well(name: str) -> None:
    (outcome,) = outcomes(CHECKS[name], proof_of(name).passes())
    assert outcome.status == "pass", outcome
    assert outcome.rule == CHECKS[name].rule


@pytest.mark.parametrize("name", CHECKS)
def test_it_finds_what_is_wrong_and_names_a_remedy(name: str) -> None:
    proof, spec = proof_of(name), CHECKS[name]
    (outcome,) = outcomes(spec, proof.fails())
    assert outcome.status in ("fail", "warn"), outcome
    said = [finding for finding in outcome.findings if re.search(proof.says, finding.summary)]
    assert said, [finding.summary for finding in outcome.findings]
    assert all(finding.remedy and finding.level in ("fail", "warn") for finding in said)


@pytest.mark.parametrize("name", CHECKS)
def test_it_can_be_rehearsed(name: str) -> None:
    proof = proof_of(name)
    assert bool(proof.faults or proof.qnext) != bool(proof.without_rehearsal), "a fault, or why there is none"
    known = [re.compile(re.sub(r"<\w+>", r"[\\w.:-]+", fault.key)) for fault in FAULTS]
    assert [key for key in proof.faults if not any(pattern.fullmatch(key) for pattern in known)] == []
