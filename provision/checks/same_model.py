"""All nodes hold the same weights: config, index, every shard's name and size; and its checksum where that is known.

Where ``model.source`` says where weights are from, a difference is told only: it is fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from provision.checks.base import Finding, Shown
from provision.checks.support import each, listed, look
from provision.facts.base import Fact
from provision.facts.model import ModelFolder, ModelFolderValue
from provision.facts.weights import VerifiedValue
from provision.findings import Comparison, comparison
from provision.install.weights import verified_fact
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X04"
LEVEL = "fail"
SCOPE = "cluster"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return ModelFolder(settings.model.folder), verified_fact(settings)


def run(cluster: Cluster) -> Iterable[Shown]:
    source = cluster.settings.model.source
    for shown in (*_by_names(cluster), *_by_content(cluster)):
        if source and isinstance(shown, Finding):
            remedy = f"nothing: what differs is fetched by model.source ({source.kind})"
            yield replace(shown, remedy=remedy, level="info")
        else:
            yield replace(shown, level="info") if source and isinstance(shown, Comparison) else shown


def _by_content(cluster: Cluster) -> Iterator[Shown]:
    """Of the nodes on which every weights file's checksum is known; of files that all of them have."""
    values = {node.name: look(node, verified_fact(node.settings)) for node in cluster.nodes}
    known = {name: found for name, value in values.items() if (found := _sums(value))}
    if len(known) < 2:
        return
    common = frozenset.intersection(*(frozenset(found) for found in known.values()))
    known = {name: {path: found[path] for path in common} for name, found in known.items()}
    row = comparison("model checksums", {name: _digest(found) for name, found in known.items()}, "fail")
    yield row
    by_digest = [list(nodes) for _, nodes in row.values]
    for odd in by_digest[1:]:
        good, other = known[by_digest[0][0]], known[odd[0]]
        names = sorted(path for path in common if good[path] != other[path])
        yield Finding(
            f"weights on {listed(odd, 8)} have other contents than on {listed(by_digest[0], 8)}: {listed(names)}",
            f"`qnext-provision weights --record --repair --from {by_digest[0][0]}` makes them the same",
            node=odd[0],
            expected=by_digest[0][0],
            observed=f"{listed(names)} differ",
        )


def _sums(value: VerifiedValue) -> dict[str, str]:
    """Checksums of the weights by path; empty where one isn't known."""
    weights = [file for file in value.files if file.path.endswith((".safetensors", ".bin", "config.json"))]
    return {file.path: file.sha256 for file in weights} if all(file.sha256 for file in weights) else {}


def _digest(sums: dict[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{path} {sum}" for path, sum in sorted(sums.items())).encode()).hexdigest()[:12]


def _by_names(cluster: Cluster) -> Iterator[Shown]:
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
