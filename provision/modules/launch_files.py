"""Put the launch script of every process on its node, with the files that it mounts, and remove those of processes that
are no longer declared.

All nodes are prepared before any rank starts: a late rank lets the early ones run into their timeouts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from provision.actions import Action, On, Put, Remove
from provision.facts.base import Fact
from provision.facts.launch_folder import LaunchFolder, digest_of
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.launch import Launch

SCOPE = "cluster"
FILES = frozenset({"launch-folder", "listing", "stale-secrets"})


class Args(ModuleArgs):
    """None: the files follow from the layout."""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [*launch.facts(settings), LaunchFolder(launch.script_folder(settings))]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    planned = launch.observed(cluster)
    steps = {node.name: list(_changes(node, planned)) for node in cluster.nodes}
    while any(steps.values()):
        yield On({name: actions.pop(0) for name, actions in steps.items() if actions})
    for warning in planned.plan.warnings:
        cluster.nodes[0].keep("layout-warnings.txt", warning + "\n")
    count = len(planned.scripts)
    return Outcome(f"{count} launch script{'s' * (count != 1)} in place")


def _changes(node: Node, planned: Launch) -> Iterable[Action]:
    folder = launch.script_folder(node.settings)
    present = node.get(LaunchFolder(folder)).files
    wanted = dict(_wanted(node, planned))
    for name, put in wanted.items():
        before = present.get(name)
        if before is None or (before.digest, before.mode) != (digest_of(put.content), put.mode):
            yield replace(put, before=before.content if before else None)
    for name in present.keys() - wanted.keys():
        yield Remove(label=f"remove {folder}/{name}", path=f"{folder}/{name}", affects=FILES)


def _wanted(node: Node, planned: Launch) -> Iterable[tuple[str, Put]]:
    """This node's files by name."""
    for script in planned.scripts_of(node.name):
        yield _file(node, f"{script.process}.sh", script.text, 0o755)
        for path, text in script.files.items():
            yield _file(node, path.rpartition("/")[2], text, 0o644)
        if script.secrets_path:
            text = "".join(f"{name}={value}\n" for name, value in planned.secrets_for(script.process).items())
            yield _file(node, f"{script.process}.env", text, 0o600, secret=True)


def _file(node: Node, name: str, text: str, mode: int, *, secret: bool = False) -> tuple[str, Put]:
    path = f"{launch.script_folder(node.settings)}/{name}"
    put = Put(label=f"write {path}", path=path, content=text.encode(), mode=mode, secret=secret, affects=FILES)
    return name, put
