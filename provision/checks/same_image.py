"""Nodes that have the image have the same one, by id: tags move.

Only what is there is compared; a node without it gets it by the pull, after which this is proven again.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import differing, each
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X02"
LEVEL = "fail"
SCOPE = "cluster"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Image(settings.install.image),)


def run(cluster: Cluster) -> Iterable[Finding]:
    image = cluster.settings.install.image
    ids = {
        name: value.id.removeprefix("sha256:")[:12] for name, value in each(cluster, Image(image)).items() if value.id
    }
    odd = differing(ids)
    if odd:
        yield Finding(
            f"{image} is not the same image everywhere: {odd[0]}",
            f"docker pull {image} on every node, or name the image by digest (…@sha256:…)",
            node=odd[1],
            expected="one image id",
            observed=ids[odd[1]],
        )
