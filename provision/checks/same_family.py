"""All nodes have the same NPUs, as many of them.

Nodes that lack some of theirs, or have those of another family, are told by the checks of the node.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Shown
from provision.checks.npu_family import family
from provision.checks.support import NPU_FACTS, Skip, absent, ascend, compared, npu_smi, selected
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "X01"
LEVEL = "fail"
SCOPE = "cluster"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(cluster: Cluster) -> Iterable[Shown]:
    kinds = {node.name: kind for node in cluster.nodes if (kind := _kind(node))}
    remedy = "put unlike nodes into clusters of their own, or level them with qnext.devices"
    yield from compared("NPUs", kinds, remedy, summary="the nodes' NPUs differ")


def _kind(node: Node) -> str:
    try:
        names = sorted({die.name for die in npu_smi(node).dies if die.name})
        told = absent(node) or any(family(name) != node.settings.hardware for name in names)
        return "" if told else f"{len(selected(node))} x {'/'.join(names) or 'unnamed'}"
    except Skip:
        return ""
