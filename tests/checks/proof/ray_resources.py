"""A Ray cluster that a worker has left."""

from __future__ import annotations

from typing import Any

from provision.accel.ascend.ray import RayResource, RayStatus
from provision.facts.ray import RayClusterValue
from provision.inventory.model import Serve
from tests.checks.proof import Proof
from tests.checks.world import launched, settings


def cluster(nodes: int = 2, npus: int = 16, gpus: int = 0) -> Any:
    """Two nodes whose head's Ray counts so many."""
    serve = Serve(topology="ray", tensor_parallel_size=8, pipeline_parallel_size=2)
    two = launched(settings("atlas-800-a2", serve=serve))
    resources = (RayResource("NPU", npus, npus), *([RayResource("GPU", 0, gpus)] if gpus else []))
    two.nodes[0].facts["ray-cluster"] = RayClusterValue(RayStatus(nodes, resources))
    return two


PROOF = Proof(
    passes=cluster,
    fails=lambda: cluster(1, 8),
    says="Ray has 1 of 2 nodes",
    without_rehearsal="servers never run on a Ray cluster that lacks something: the head's launch script ends first, "
    "and a head that loses a worker later ends too",
)
