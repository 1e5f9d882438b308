"""The weights are on the node, whole.

Checked by names and sizes: config.json, a tokenizer, every shard that the index names, each as long as its own header
says [domain 12 #38]. Contents are compared between nodes by ``same_model``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks.base import Finding
from provision.checks.support import listed, look
from provision.facts.base import Fact
from provision.facts.model import ModelFolder, ModelFolderValue
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N15"
LEVEL = "fail"
SCOPE = "node"

_UNSURE = "and no index"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (ModelFolder(settings.model.folder),)


def run(node: Node) -> Iterable[Finding]:
    path = node.settings.model.folder
    value = look(node, ModelFolder(path))
    copy = f"rsync -a --partial GOOD_NODE:{path}/ {path}/ (the same path on every node)"
    if not value.exists:
        yield Finding(
            f"no folder {path}",
            f"bring the weights: {copy}; or correct qnext.model.path",
            expected=path,
            observed="missing",
        )
        return
    broken = list(_broken(value))
    if broken:
        yield Finding(
            f"{path}: {'; '.join(broken)}",
            f"copy the model again: {copy}",
            expected="every file of the model, whole",
            observed="; ".join(broken),
        )
    for problem in value.problems:
        if _UNSURE in problem:
            yield Finding(f"{path}: {problem}", "copy model.safetensors.index.json too", level="warn")


def _broken(value: ModelFolderValue) -> Iterator[str]:
    total = len(value.shards) + len(value.missing)
    if value.missing:
        yield f"{len(value.missing)} of {total} shards are missing: {listed(value.missing)}"
    cut = [shard for shard in value.shards if not shard.whole]
    if cut:
        yield "cut short or damaged: " + listed(
            [f"{shard.name} ({shard.size} of {shard.expected or 'unknown'} bytes)" for shard in cut]
        )
    nothing_at_all = bool(value.missing) and not value.shards
    for problem in value.problems:
        if _UNSURE not in problem and not (nothing_at_all and problem.startswith("no weights")):
            yield problem
