"""No server processes are left over from runs outside of containers.

They hold memory, ports or NPUs, and survive the shell that started them [domain 11]. Only told, never ended.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import listed, look
from provision.facts.base import Fact
from provision.facts.processes import Processes
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N21"
LEVEL = "warn"
SCOPE = "node"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Processes(),)


def run(node: Node) -> Iterable[Finding]:
    loose = [process for process in look(node, Processes()).processes if not process.container]
    if loose:
        pids = " ".join(str(process.pid) for process in loose)
        yield Finding(
            f"{len(loose)} server processes run outside of containers: "
            + listed([f"{process.pid} {process.args[:50]}" for process in loose], 3),
            f"ps -fp {','.join(pids.split())} on the node; if they are nobody's: kill {pids}",
            expected="none",
            observed=pids,
        )
