"""The image on the node is built for its NPUs.

The tag's suffix is judged before any node is touched (S10); what counts is what is inside: the image's ``SOC_VERSION``
[domain 1.3, 4.2]. A tag can lie, by a retag or a mirror's mistake, and the finding then says so. The image's processor
is judged by the check ``architecture``. An image that isn't there yet is pulled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from provision.checks.base import Finding
from provision.checks.compatibility import finding
from provision.checks.support import Skip, ascend, docker, hanging
from provision.facts.base import Fact
from provision.facts.docker import Docker, Image
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve import stack
from provision.serve.compatibility import image_for
from provision.serve.images import ImageRef, parse_image
from provision.serve.verdicts import Verdict

CODE = "N12"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Docker(), *stack.facts(settings)


def run(node: Node) -> Iterable[Finding]:
    docker(node)
    image = node.get(Image(node.settings.install.ref))
    if hanging(image.problems) or not image.present:
        raise Skip("the image is not there yet")
    named = parse_image(node.settings.install.image)
    for verdict in stack.judged(node, "hardware"):
        yield finding(_told(verdict, named, node.settings))


def _told(verdict: Verdict, named: ImageRef, settings: Settings) -> Verdict:
    """With the image to use; where that is the one in use, its tag is right for the hardware and the image isn't."""
    right = image_for(named, settings.hardware)
    if right and right != f"{named.repository}:{named.tag}":
        return replace(verdict, remedy=f"install.image: {right}")
    if verdict.outcome != "refuse" or not right:
        return verdict
    return replace(
        verdict,
        reason=f"{verdict.reason}, though its tag {named.tag} says so",
        remedy=f"docker rmi {named.reference} on the node and pull it again, from {named.repository} as published",
    )
