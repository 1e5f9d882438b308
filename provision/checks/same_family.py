"""All nodes of a group have the same NPUs, as many of them; servers that keep to their node need not.

Nodes that lack some of theirs, or have those of another family, are told by the checks of the node.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Level, Shown
from provision.checks.npu_family import family
from provision.checks.support import NPU_FACTS, Skip, absent, alone, ascend, compared, npu_smi, selected, together
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
    remedy = "put unlike nodes into clusters of their own, or level them with qnext.devices"
    groups: dict[str, dict[str, str]] = {}
    for node in cluster.nodes:
        if kind := _kind(node):
            groups.setdefault("" if alone(node.settings) else together(node), {})[node.name] = kind
    for name, kinds in groups.items():
        subject = f"NPUs of {name}" if name and len(groups) > 1 else "NPUs"
        level: Level = "info" if alone(cluster.settings) else "fail"
        yield from compared(subject, kinds, remedy, level=level, summary="the nodes' NPUs differ")


def _kind(node: Node) -> str:
    try:
        names = sorted({die.name for die in npu_smi(node).dies if die.name})
        told = absent(node) or any(family(name) != node.settings.hardware for name in names)
        return "" if told else f"{len(selected(node))} x {'/'.join(names) or 'unnamed'}"
    except Skip:
        return ""
