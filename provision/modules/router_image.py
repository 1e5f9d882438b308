"""Have the image of the router on its node, where it has one of its own: pulled before anything starts.

Only the node that runs the router needs it, and the servers' mirrors don't hold it. Left to ``docker run``, the pull
would come after the servers have loaded for half an hour, and so would its failure.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from provision.errors import CommandFailed
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.install import images
from provision.inventory.model import Settings
from provision.modules import pulling
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster, Node
from provision.serve import launch

SCOPE = "cluster"


class Args(ModuleArgs):
    """How patiently; which image is the inventory's to say (``serve.router.image``)."""

    timeout: float = Field(3600.0, gt=0, description="seconds that the pull may take")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    ref = launch.router_image(settings)
    return [*launch.facts(settings), Image(ref)] if ref else []


def run(args: Args, cluster: Cluster) -> ClusterRun:
    if not launch.router_image(cluster.settings):
        return Outcome("no router has an image of its own", skipped=True)
    nodes = {node.name: node for node in cluster.nodes}
    plan = launch.observed(cluster).plan
    told = []
    for process in plan.processes:
        if process.image and process.image != plan.image:
            outcome = yield from _had(args, nodes[process.node], process.image)
            told.append(f"{outcome.message if outcome else process.image} on {process.node}")
    return Outcome("; ".join(told) or "the router is on no node of this run", skipped=not told)


def _had(args: Args, node: Node, ref: str) -> ClusterRun:
    if node.get(Image(ref)).present:
        return Outcome(f"{ref} is there")
    try:
        yield from pulling.pull([node], images.other(ref, node.settings.install), args.timeout)
    except CommandFailed as error:
        error.hint = (
            f"try docker pull {ref} on {node.name}: correct qnext.serve.router.image, docker login there where it is "
            "private, or bring it by docker save and docker load; without that key the servers' image is used"
        )
        raise
    return Outcome(f"{ref} pulled")
