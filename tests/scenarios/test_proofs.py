"""Each check is triggered end to end: the fault of its proof is set on a node, ``check`` tells it with node and remedy.

Faults that leave each other alone share one run: a node on which everything is wrong is judged check by check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import yaml

from provision import registry
from provision.inventory.model import Hardware
from tests.checks.proof import Proof
from tests.checks.test_proof import proof_of
from tests.merging import merged
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = pytest.mark.rehearsal

PROOFS = {spec.name: proof_of(spec.name) for spec in registry.checks() if spec.scope != "static"}
REHEARSED = {name: proof for name, proof in PROOFS.items() if not proof.without_rehearsal}
ALONE = [name for name, proof in REHEARSED.items() if proof.alone]
HARDWARE: tuple[Hardware, ...] = ("atlas-800-a3", "atlas-800-a2", "cpu")

Nodes = Callable[[str], Practice]


@pytest.fixture
def nodes(request: pytest.FixtureRequest) -> Nodes:
    """The rehearsal cluster of a hardware."""
    names = {"atlas-800-a3": "a3", "atlas-800-a2": "a2", "cpu": "cpu"}
    return lambda hardware: request.getfixturevalue(names[hardware])


def together(hardware: str, launched: bool) -> dict[str, Proof]:
    """The proofs that share a run."""
    return {
        name: proof
        for name, proof in REHEARSED.items()
        if not proof.alone and (proof.hardware, proof.launched) == (hardware, launched)
    }


def untold(practice: Practice, program: Program, proofs: dict[str, Proof]) -> list[str]:
    """Set all faults, check, and say which checks did not tell theirs."""
    qnext: dict[str, Any] = {}
    for proof in proofs.values():
        qnext = merged(qnext, proof.qnext)
    inventory = practice.write_inventory(**qnext)
    if any(proof.launched for proof in proofs.values()):
        up = program("up", "-i", inventory)
        assert up.exit == 0, up.text
    if any(proof.pulled for proof in proofs.values()):
        _drop_images(practice)
    for proof in proofs.values():
        for key, value in proof.faults.items():
            practice.fault(proof.node, key, value)
    if any(proof.pulled for proof in proofs.values()):
        _pull(practice)
    only = [word for name in proofs for word in ("--only", name)]
    answer = program("check", "-i", inventory, "--json", *only)
    if any(proof.pulled for proof in proofs.values()):
        _drop_images(practice)
    found = [finding for check in answer.json()["checks"] for finding in check["findings"]]
    return [f"{name}: {_seen(name, found)}" for name, proof in proofs.items() if not _told(name, proof, found)]


def _image(practice: Practice) -> str:
    image: str = yaml.safe_load(practice.inventory.read_text())["all"]["vars"]["qnext"]["install"]["image"]
    return image


def _drop_images(practice: Practice) -> None:
    for node in practice.nodes:
        practice.docker(node, "rmi", "-f", _image(practice))


def _pull(practice: Practice) -> None:
    for node in practice.nodes:
        practice.docker(node, "pull", "-q", _image(practice))


def _told(name: str, proof: Proof, found: Iterable[dict[str, Any]]) -> bool:
    own = [f for f in found if f["check"] == name and re.search(proof.says, f["summary"])]
    named = [f for f in own if proof.node in f"{f['node']} {f['summary']} {f['observed']}"]
    return bool(named) and all(f["remedy"] and f["level"] in ("fail", "warn") for f in named)


def _seen(name: str, found: Iterable[dict[str, Any]]) -> list[str]:
    return [f"{f['node']}: {f['level']}: {f['summary']}" for f in found if f["check"] == name]


@pytest.mark.parametrize("launched", [False, True], ids=["bare", "launched"])
@pytest.mark.parametrize("hardware", HARDWARE)
def test_every_check_tells_its_fault(hardware: str, launched: bool, nodes: Nodes, program: Program) -> None:
    proofs = together(hardware, launched)
    if proofs:
        missing = untold(nodes(hardware), program, proofs)
        assert not missing, "\n".join(missing)


@pytest.mark.parametrize("name", ALONE)
def test_a_fault_that_disturbs_other_checks_is_told(name: str, nodes: Nodes, program: Program) -> None:
    missing = untold(nodes(REHEARSED[name].hardware), program, {name: REHEARSED[name]})
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("hardware", HARDWARE)
def test_a_healthy_cluster_passes_every_check(hardware: str, nodes: Nodes, program: Program) -> None:
    many_ranks = ["--skip", "collective"] if hardware != "cpu" else []
    answer = program("check", "-i", nodes(hardware).inventory, "--deep", "--json", *many_ranks)
    assert answer.exit == 0, answer.text
    told = [f for check in answer.json()["checks"] for f in check["findings"]]
    assert told == []
    unknown = [check["check"] for check in answer.json()["checks"] if check["status"] == "unknown"]
    assert unknown == []
