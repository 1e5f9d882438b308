"""The node's own name leads to loopback."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    two.nodes[1].alter("network", hostname_addresses=("127.0.1.1",))
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="own name .* leads to 127.0.1.1",
    faults={"dns/hostname": "127.0.1.1"},
)
