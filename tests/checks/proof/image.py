"""An image of A2 under the tag of A3."""

from __future__ import annotations

from typing import Any

from provision.facts.docker import ImageValue
from tests.checks.proof import Proof
from tests.checks.world import IMAGE, healthy


def holding(soc: str) -> Any:
    node = healthy()
    node.facts["image"] = ImageValue(IMAGE, True, "sha256:" + "1" * 64, "arm64", env={"SOC_VERSION": soc})
    return node


PROOF = Proof(
    passes=lambda: holding("ascend910_9391"),
    fails=lambda: holding("ascend910b1"),
    says=r"built for ascend910b1 \(atlas-800-a2\), not for atlas-800-a3, though its tag v0.18.0-a3 says so",
    without_rehearsal="the registries of a rehearsal hold images that are what their tags say",
)
