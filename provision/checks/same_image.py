"""Nodes that have the image have the same one, by id: tags move.

Only what is there is compared; a node without it gets it by the pull, after which this is proven again.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Shown
from provision.checks.support import compared, each
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X02"
LEVEL = "fail"
SCOPE = "cluster"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Image(settings.install.ref),)


def run(cluster: Cluster) -> Iterable[Shown]:
    image = cluster.settings.install.ref
    ids = {
        name: value.id.removeprefix("sha256:")[:12] for name, value in each(cluster, Image(image)).items() if value.id
    }
    remedy = f"docker rmi {image} on the nodes that differ; up then pulls by digest what the others hold"
    yield from compared("image id", ids, remedy, summary=f"{image} is not the same image everywhere")
