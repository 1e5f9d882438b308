"""The image on the node is built for its NPUs.

The tag's suffix is judged offline; what counts is what is inside: the image's ``SOC_VERSION`` [domain 1.3, 4.2]. An
image that isn't there yet is pulled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import Skip, ascend, docker, hanging
from provision.facts.base import Fact
from provision.facts.docker import Docker, Image
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N12"
LEVEL = "fail"
SCOPE = "node"

applies = ascend

_BUILDS = (
    (re.compile(r"ascend910b.*", re.IGNORECASE), "atlas-800-a2"),
    (re.compile(r"ascend910_93\d\d", re.IGNORECASE), "atlas-800-a3"),
)


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Docker(), Image(settings.install.image)


def run(node: Node) -> Iterable[Finding]:
    docker(node)
    image = node.get(Image(node.settings.install.image))
    if hanging(image.problems) or not image.present:
        raise Skip("the image is not there yet")
    soc = image.env.get("SOC_VERSION", "")
    built_for = next((hardware for pattern, hardware in _BUILDS if pattern.fullmatch(soc)), "")
    if soc and built_for != node.settings.hardware:
        yield Finding(
            f"the image is built for {soc} ({built_for or 'other hardware'}), not for {node.settings.hardware}",
            "use the tag with this hardware's suffix: none for A2, -a3 for A3",
            expected=node.settings.hardware,
            observed=soc,
        )
