"""All nodes hold the same weights: config, index, and every shard's name and size."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding, Shown
from provision.checks.support import each, listed
from provision.facts.base import Fact
from provision.facts.model import ModelFolder, ModelFolderValue
from provision.findings import comparison
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X04"
LEVEL = "fail"
SCOPE = "cluster"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (ModelFolder(settings.model.folder),)


def run(cluster: Cluster) -> Iterable[Shown]:
    path = cluster.settings.model.folder
    values = {
        name: value for name, value in each(cluster, ModelFolder(path)).items() if value.digest and value.complete
    }
    row = comparison("model files", {name: value.digest[:12] for name, value in values.items()}, "fail")
    yield row
    by_digest = [list(nodes) for _, nodes in row.values]
    for odd in by_digest[1:]:
        good, other = values[by_digest[0][0]], values[odd[0]]
        yield Finding(
            f"the model on {listed(odd, 8)} is not that of {listed(by_digest[0], 8)}: {_difference(good, other)}",
            f"rsync -a --checksum {by_digest[0][0]}:{path}/ {path}/ on {listed(odd, 8)}",
            node=odd[0],
            expected=by_digest[0][0],
            observed=_difference(good, other),
        )


def _difference(good: ModelFolderValue, other: ModelFolderValue) -> str:
    sizes, theirs = ({shard.name: shard.size for shard in value.shards} for value in (good, other))
    names = sorted(name for name in sizes.keys() | theirs.keys() if sizes.get(name) != theirs.get(name))
    return f"{listed(names)} differ" if names else "config.json or the index differs"
