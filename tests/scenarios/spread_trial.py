"""Spread a folder from node to node: ``spreading`` as a module of its own, for the scenarios."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field

from provision.facts.base import Fact
from provision.facts.network import Network
from provision.install.manifest import File
from provision.inventory.model import Settings
from provision.modules import spreading
from provision.modules.base import ClusterRun, ModuleArgs
from provision.node import Cluster

SCOPE = "cluster"


class Args(ModuleArgs):
    """``source`` is a folder here: what ``folder`` must hold on every node. ``lacking``: paths by node."""

    source: str = ""
    folder: str = ""
    mode: Literal["pipeline", "tree"] = "pipeline"
    lacking: dict[str, str] = Field(default_factory=dict)
    bandwidth: int = 0
    image: str = ""
    id: str = ""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [Network()]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    takers = {node: frozenset(paths.split()) for node, paths in args.lacking.items()}
    holders = [node.name for node in cluster.nodes if node.name not in takers]
    if args.image:
        return (yield from spreading.spread_image(cluster, args.image, args.id, holders, list(takers), 60.0))
    source = Path(args.source)
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    files = tuple(
        File(str(p.relative_to(source)), p.stat().st_size, hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths
    )
    parcel = spreading.Parcel("trial", args.folder, files, args.mode, args.bandwidth, timeout=60.0)
    return (yield from spreading.spread(cluster, parcel, holders, takers))
