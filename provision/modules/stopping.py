"""How processes are stopped: what others ask first, then those whom it asks, and each log is kept before it goes.

No module of its own: ``stop`` stops what is to go, ``life`` a group that is to live again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from provision.actions import On, Run
from provision.diagnose.autopsy import log_name
from provision.facts.docker import Container, Containers
from provision.modules.starting import CHANGED, Steps
from provision.node import Cluster, Node
from provision.serve import launch
from provision.shell import quote

GRACE = 60
"""Seconds that a server may take to end by itself [domain.md section 11]."""
AFTER_LAST = 30.0
"""Seconds that docker may take over the grace to remove a container."""


def stop(cluster: Cluster, wanted: Callable[[Container], bool], grace: int = GRACE) -> Steps:
    """Stop and remove the containers that are ``wanted``, on all nodes: how many it were."""
    chosen = {node.name: [c for c in containers(node) if wanted(c)] for node in cluster.nodes}
    if not any(chosen.values()):
        return 0
    cluster.each(lambda node: _keep_logs(node, len(cluster.restarts), chosen[node.name]))
    for wave in _waves(chosen):
        yield On({node: _stop(names, grace) for node, names in wave.items()})
    return sum(len(each) for each in chosen.values())


def containers(node: Node) -> Sequence[Container]:
    """All containers of this cluster on a node."""
    return node.get(Containers(node.settings.cluster)).containers


def _waves(chosen: Mapping[str, Sequence[Container]]) -> Iterable[dict[str, list[str]]]:
    """Container names by node: routers, servers with an API, headless ranks, masters of pools."""
    for turn in range(4):
        wave = {node: [c.name for c in each if _turn(c) == turn] for node, each in chosen.items()}
        if any(wave.values()):
            yield {node: names for node, names in wave.items() if names}


def _turn(container: Container) -> int:
    """Whose turn it is. A server of the only group has no label that says whether it is headless: its rank does."""
    if container.kind:
        return 0 if container.kind == "router" else 3
    return 2 if container.headless or (not container.group and container.rank not in (0, None)) else 1


def _stop(names: Sequence[str], grace: int) -> Run:
    words = " ".join(quote(name) for name in names)
    return Run(
        label=f"stop {', '.join(names)}",
        script=f"docker stop -t {grace} {words} || :\ndocker rm -f {words}\n",
        deadline=grace + AFTER_LAST,
        hint="docker ps -a on the node shows what is left",
        affects=CHANGED,
    )


def _keep_logs(node: Node, restarts: int, stopped: Sequence[Container]) -> None:
    """Docker drops a container's log with the container: keep the end of it."""
    names = {container.process for container in stopped}
    if names:
        for name, text in launch.read_logs(node).items():
            if name in names:
                node.keep(log_name(name, restarts), text)
