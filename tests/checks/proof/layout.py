"""A layout that needs more devices than the nodes have."""

from __future__ import annotations

from typing import Any

from provision.inventory.model import Serve
from tests.checks.proof import Proof
from tests.checks.world import inventory, settings


def of(tensor_parallel: int) -> Any:
    serve = Serve(topology="data-parallel", data_parallel_size=2, tensor_parallel_size=tensor_parallel)
    return inventory(settings(serve=serve))


PROOF = Proof(
    passes=lambda: of(8),
    fails=lambda: of(32),
    says="need 32 devices a node, but atlas-1 has 16",
    qnext={"serve": {"tensor_parallel_size": 32}},
)
