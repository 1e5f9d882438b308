"""The node has main memory for the servers and for the weights' page cache.

Advised: the weights' size, on Ascend 64 GB at least [domain 14.2]. With less, loading is slow and the kernel may end a
process; our own running servers count as memory that is there.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import GIB, Skip, ascend, containers, look, size
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.model import ModelFolder
from provision.facts.system import Memory
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N14"
LEVEL = "warn"
SCOPE = "node"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Memory(), ModelFolder(settings.model.path), Containers(settings.cluster)


def run(node: Node) -> Iterable[Finding]:
    if any(c.running for c in containers(node).containers):
        raise Skip("our servers run and hold their memory")
    available = look(node, Memory()).available
    weights = node.get(ModelFolder(node.settings.model.path)).size
    advised = max(64 * GIB, weights) if ascend(node.settings) else weights + 1 * GIB
    if available is not None and available < advised:
        yield Finding(
            f"{size(available)} of main memory are available, {size(advised)} are advised for these weights",
            "end other programs on the node (ps aux --sort -rss | head), or expect slow loading",
            expected=f"{size(advised)} or more",
            observed=size(available),
        )
