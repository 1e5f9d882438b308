"""The image is made for the node's processor.

An image for another one ends at once with ``exec format error`` [domain 12 #29]. Judged where the image is there; a
pull takes the right one by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import Skip, look
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.facts.system import Os
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve.compatibility import ARCHITECTURES, platform_for

CODE = "N02"
LEVEL = "fail"
SCOPE = "node"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Os(), Image(settings.install.ref)


def run(node: Node) -> Iterable[Finding]:
    image, machine = node.get(Image(node.settings.install.ref)), look(node, Os()).arch
    if not image.present or not machine or not image.arch:
        raise Skip("the image is not there yet")
    wanted = ARCHITECTURES.get(machine, machine)
    if ARCHITECTURES.get(image.arch, image.arch) != wanted:
        yield Finding(
            f"the image is made for {image.arch}, the node is {machine}",
            f"docker rmi {image.ref}; docker pull --platform {platform_for(machine) or machine} {image.ref}",
            expected=wanted,
            observed=image.arch,
        )
