"""An NPU's network has no gateway."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.wires import devices
from tests.checks.world import pair


def without() -> Any:
    two = pair()
    devices(two.nodes[1], "hccn-detail", 5, gateway=None)
    return two


PROOF = Proof(
    passes=pair,
    fails=without,
    says="davinci 5: the NPU's network has no gateway",
    faults={"npu/5/gateway": "none"},
)
