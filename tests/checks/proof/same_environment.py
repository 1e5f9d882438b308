"""One host sets a variable that the others have not."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import cluster, healthy, pair, settings


def ill() -> Any:
    own = settings()
    other = own.serve.model_copy(update={"env": {"OMP_NUM_THREADS": 10}})
    return cluster(healthy(0, own), healthy(1, own.model_copy(update={"serve": other})))


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="env OMP_NUM_THREADS is not the same everywhere: .*10 on atlas-2",
    without_rehearsal="an inventory whose hosts differ in qnext.serve is refused before a node is asked; this check is "
    "for what the plan itself makes of the nodes",
)
