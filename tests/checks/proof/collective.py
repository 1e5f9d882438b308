"""Sums that are wrong."""

from __future__ import annotations

from collections.abc import Mapping

from provision.actions import On
from provision.results import Result
from tests.checks.proof import Proof, Trial
from tests.checks.world import pair, with_image

WRONG = "wrong sum on rank 20: 529 to 529 of 1 MB, expected 528\n"


def right(group: On) -> Mapping[str, Result]:
    return {name: Result("all-reduce", 0, "joined 0\nmeasured 1 0.000100000\n") for name in group.actions}


def wrong(group: On) -> Mapping[str, Result]:
    return {**right(group), "atlas-2": Result("all-reduce", 3, "joined 16\n", WRONG)}


PROOF = Proof(
    passes=lambda: Trial(with_image(pair()), right),
    fails=lambda: Trial(with_image(pair()), wrong),
    says="an all-reduce gives a wrong sum on rank",
    faults={"collective": "wrong"},
    hardware="cpu",
    qnext={"checks": {"collective": {"sizes": [0.001], "seconds": 30}}},
    alone=True,
    pulled=True,
)
