"""The same tag, another image."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import with_image
from tests.checks.proof import Proof
from tests.checks.world import pair


def the_same() -> Any:
    two = pair()
    for node in two.nodes:
        with_image(node)
    return two


def rebuilt() -> Any:
    two = the_same()
    with_image(two.nodes[1], id="sha256:" + "2" * 64)
    return two


PROOF = Proof(
    passes=the_same,
    fails=rebuilt,
    says="is not the same image everywhere",
    faults={"image/rebuilt": "1"},
    hardware="cpu",
    alone=True,
    pulled=True,
)
