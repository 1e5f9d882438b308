"""The file of one node has another address than the NPU."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.wires import devices
from tests.checks.world import pair


def other() -> Any:
    two = pair()
    devices(two.nodes[1], "hccn-conf", 3, address="29.1.9.9")
    return two


PROOF = Proof(
    passes=pair,
    fails=other,
    says="another address than the NPU",
    faults={"hccn_conf/3": "29.9.9.9"},
)
