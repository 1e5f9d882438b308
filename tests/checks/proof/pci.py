"""A card that fell off the bus and has its device node still."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import fell_off_the_bus
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    fell_off_the_bus(node, 9)
    return node


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="davinci 9 .*: fell off the PCI bus",
    faults={"pci/9/missing": "1"},
)
