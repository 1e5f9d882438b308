"""Clusters of several servers as checks see them: replicas behind a router, ranks with an API each."""

from __future__ import annotations

from typing import Any

from provision.facts.docker import ContainersValue
from provision.facts.logs import LogTailsValue
from provision.inventory.model import Serve, Settings
from provision.serve import launch
from tests.checks.world import FakeNode, Server, cluster, healthy, ours, serving, settings

REPLICAS = {"topology": "replicas", "tensor_parallel_size": 8}
"""On an A3 two servers of each node."""


def of(hardware: Any = "atlas-800-a3", **serve: Any) -> Settings:
    return settings(hardware, serve=Serve.model_validate(serve))


def nodes(own: Settings, count: int = 2) -> Any:
    """Healthy nodes that run nothing."""
    return cluster(*(healthy(index, own) for index in range(count)))


def launched(own: Settings, count: int = 2) -> Any:
    """Healthy nodes whose servers run and answer, each at its own port."""
    made = nodes(own, count)
    plan = launch.observed(made).plan
    for node in made.nodes:
        processes = [process for process in plan.processes if process.node == node.name]
        containers = tuple(ours(process=p.name, rank=p.rank, devices=p.devices) for p in processes)
        node.facts["containers"] = ContainersValue(containers, reachable=True)
        node.facts["log-tails"] = LogTailsValue({p.name: "INFO 11-24 06:00:00 [core.py:1] fine\n" for p in processes})
        for process in processes:
            if process.api_port is not None:
                ranks = plan.behind(process) if process.kind == "server" else ()
                node.servers[process.api_port] = answering(plan.served_name, ranks, process.health)
    return made


def answering(name: str, ranks: tuple[int, ...], health: str) -> Server:
    """A server that answers everything rightly, and labels its engines by their ranks."""
    server = serving(name, len(ranks))
    page = server.pages["/metrics"].text()
    for place, rank in reversed(list(enumerate(ranks))):
        page = page.replace(f'engine="{place}"', f'engine="{rank}"')
    server.pages |= {"/metrics": type(server.pages["/metrics"])(200, page.encode())}
    server.pages[health] = server.pages["/health"]
    return server


def without(made: Any, node: int, *processes: str) -> Any:
    """The same cluster without these processes on a node."""
    found: FakeNode = made.nodes[node]
    there = found.facts["containers"].containers
    found.facts["containers"] = ContainersValue(tuple(c for c in there if c.process not in processes), reachable=True)
    return made
