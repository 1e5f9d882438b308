"""An image for another processor."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import with_image
from tests.checks.proof import Proof
from tests.checks.world import healthy


def fitting() -> Any:
    node = healthy()
    with_image(node)
    return node


def unfit() -> Any:
    node = healthy()
    with_image(node, arch="amd64")
    return node


PROOF = Proof(
    passes=fitting,
    fails=unfit,
    says="the image is made for .*, the node is",
    faults={"cpu/arch": "x86_64"},
    alone=True,
    pulled=True,
)
