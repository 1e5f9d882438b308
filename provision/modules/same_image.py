"""Prove that every node holds the same image: the id is compared, since a tag can mean two things on two days."""

from __future__ import annotations

from collections.abc import Iterable

from provision.errors import ProvisionError
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster

SCOPE = "cluster"


class Args(ModuleArgs):
    """None: the image is the inventory's."""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [Image(settings.install.ref)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    holders: dict[str, list[str]] = {}
    for node in cluster.nodes:
        holders.setdefault(node.get(Image(node.settings.install.ref)).id, []).append(node.name)
    if len(holders) == 1:
        image_id = next(iter(holders))
        return Outcome(f"all hold {image_id[:19]}", data={"image_id": image_id})
    fewest = min(holders.values(), key=len)
    seen = "\n".join(f"{image_id[:19]}  {', '.join(names)}" for image_id, names in holders.items())
    ref = cluster.settings.install.ref
    raise ProvisionError(
        f"{ref} is not the same image on every node",
        node=fewest[0],
        evidence=seen,
        hint=f"on the nodes that differ: docker rmi {ref}; then run up again, which pulls what the others hold",
    )
