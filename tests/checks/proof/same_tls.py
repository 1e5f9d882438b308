"""TLS is on for one node."""

from __future__ import annotations

from typing import Any

from tests.checks.ills import links
from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    links(two.nodes[1], *range(16), tls=1)
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="TLS switch",
    faults={"npu/2/tls": "1"},
)
