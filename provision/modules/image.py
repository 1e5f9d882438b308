"""Have the servers' image on every node: one digest for all, from the first source that has it, as detached jobs.

Which digest that is the inventory pins, the nodes that hold it tell, or one registry is asked once. A mirror is only
ever asked for that digest. A pull outlives a dropped connection and a killed controller; the next run attaches to it.
With ``install.spread`` one node pulls and the others get the image from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import Field

from provision.facts.base import Fact
from provision.facts.docker import Containers, Image
from provision.findings import Finding
from provision.install import images
from provision.install.images import Wanted
from provision.inventory.model import Install, Settings
from provision.modules import caching, pulling, spreading
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.pulling import Pulled, Steps
from provision.node import Cluster, Node
from provision.serve.images import parse_image

SCOPE = "cluster"


class Args(ModuleArgs):
    """How patiently; which image, from where and how it spreads is the inventory's to say (``install``)."""

    timeout: float = Field(3600.0, gt=0, description="seconds that the pull may take on one node")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    if settings.install.method != "image":
        return []
    own = [Containers(settings.cluster)] if settings.install.spread == "registry" else []
    return [Image(settings.install.ref), *own]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    install = cluster.settings.install
    if install.method != "image":
        return Outcome("no image: the servers are built from source", skipped=True)
    wanted = images.servers(install)
    missing = pulling.lacking(cluster, wanted.ref)
    if not missing:
        if install.spread == "registry":
            yield from caching.tidy(cluster)
        return Outcome(f"{wanted.ref} is there")
    wanted = yield from pulling.settled(cluster, wanted, missing[0])
    pulled = yield from _brought(cluster, wanted, missing, args.timeout)
    return Outcome(
        _message(wanted, missing, pulled),
        data={"digest": pulled.digest},
        findings=() if pulled.planned else tuple(_findings(cluster, pulled)),
    )


def _brought(cluster: Cluster, wanted: Wanted, missing: Sequence[Node], timeout: float) -> Steps:
    if cluster.settings.install.spread == "tree" and len(cluster.nodes) > 1:
        return (yield from _by_tree(cluster, wanted, missing, timeout))
    if cluster.settings.install.spread == "registry":
        return (yield from caching.pull(cluster, wanted, missing, timeout))
    return (yield from pulling.pull(missing, wanted, timeout))


def _by_tree(cluster: Cluster, wanted: Wanted, missing: Sequence[Node], timeout: float) -> Steps:
    """From nodes that hold it, or from the one that pulls it, to all others."""
    missed = {node.name for node in missing}
    holders = [node for node in cluster.nodes if node.name not in missed]
    pulled = Pulled(wanted.digest, sources={})
    if not holders:
        holders = list(missing[:1])
        pulled = yield from pulling.pull(holders, wanted, timeout)
    takers = [node.name for node in missing if node not in holders]
    if pulled.planned or not takers:
        return pulled
    image_id = holders[0].get(Image(wanted.ref)).id
    same = [node.name for node in holders if node.get(Image(wanted.ref)).id == image_id]
    yield from spreading.spread_image(cluster, wanted.ref, image_id, same, takers, timeout)
    return pulled


def _message(wanted: Wanted, missing: Sequence[Node], pulled: Pulled) -> str:
    """What is where now, by which digest, and whence."""
    sources = sorted({source for source in (pulled.sources or {}).values() if source})
    on = f"on {len(missing)} nodes" if len(missing) > 2 else "on " + " and ".join(node.name for node in missing)
    digest = f" ({pulled.digest})" if pulled.digest and not wanted.ref.endswith(pulled.digest[7:]) else ""
    whence = f" from {', '.join(sources)}" if sources else ""
    if pulled.sources is not None and not pulled.planned and len(pulled.sources) < len(missing):
        return f"{pulling.named(wanted)}{digest} {on}: {_spread(pulled.sources, whence)}"
    return f"{pulling.named(wanted)}{digest} pulled {on}{whence}"


def _out(source: str, install: Install) -> str:
    return "name a mirror as install.image" if source == install.repository else "take it out of install.mirrors"


def _spread(sources: Mapping[str, str], whence: str) -> str:
    if not sources:
        return "copied from nodes that held it"
    return f"pulled on {', '.join(sources)}{whence}, copied from there"


def _findings(cluster: Cluster, pulled: Pulled) -> Iterator[Finding]:
    """What went well and is to be known: sources that failed, and a tag that moves."""
    install = cluster.settings.install
    for source, why in dict(pair for passed in (pulled.passed or {}).values() for pair in passed).items():
        nodes = [node for node, passed in (pulled.passed or {}).items() if source in dict(passed)]
        others = [node for node in nodes if (pulled.sources or {}).get(node) != source]
        remedy = f"{', '.join(nodes)} tried it again, and it gave the image: nothing to do"
        if others:
            remedy = f"{', '.join(others)} went on with the next source; if it stays so, {_out(source, install)}"
        yield Finding(summary=f"{source}: {why}", remedy=remedy, level="warn")
    if pulled.digest and not install.pinned and parse_image(install.image).floating:
        yield Finding(
            summary=f"{install.image} is a tag that moves; what it was now is {pulled.digest}",
            remedy=f"to stay with it, install.digest: {pulled.digest}",
            level="warn",
        )
