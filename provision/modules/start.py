"""Start the processes wave by wave, each by its launch script; the next wave waits until this one has started.

A process that ends while its wave is awaited fails the launch at once, whichever node it is on.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from provision import clock
from provision.actions import Call, JobProgress, On, Run
from provision.diagnose import autopsy
from provision.errors import CommandFailed
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.network import Ports
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster, Node
from provision.results import Result
from provision.serve import launch
from provision.serve.plan import Process, Wave

SCOPE = "cluster"
LOOK_EVERY = 1.0
"""Seconds between looks at a starting process, at most; the first ones follow each other faster."""


class Args(ModuleArgs):
    """How patiently."""

    timeout: float = Field(300.0, gt=0, description="seconds until a wave must have started")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [*launch.facts(settings), Containers(settings.cluster)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    planned = launch.observed(cluster)
    nodes = {node.name: node for node in cluster.nodes}
    started = 0
    for wave in planned.plan.waves:
        processes = [planned.plan.process(name) for name in wave.processes]
        missing = [p for p in processes if not _runs(nodes[p.node], p)]
        for batch in _one_a_node(missing):
            try:
                yield On({p.node: _launch(nodes[p.node], p) for p in batch})
            except CommandFailed as error:
                raise autopsy.explained(error) from None
        for batch in _one_a_node(missing):
            yield On({p.node: _await(p, wave, args.timeout, cluster) for p in batch})
        started += len(missing)
    return Outcome(f"{started} started" if started else "all run already")


def _runs(node: Node, process: Process) -> bool:
    container = node.get(Containers(node.settings.cluster)).process(process.name)
    return container is not None and container.running


def _one_a_node(processes: Iterable[Process]) -> Iterable[list[Process]]:
    """Batches that hold at most one process of each node."""
    rest = list(processes)
    while rest:
        batch: dict[str, Process] = {}
        for process in rest:
            batch.setdefault(process.node, process)
        yield list(batch.values())
        rest = [p for p in rest if p not in batch.values()]


def _launch(node: Node, process: Process) -> Run:
    path = launch.script_path(node.settings, process.name)
    return Run(
        label=f"start {process.name}",
        script=f"exec sh {path}\n",
        deadline=120.0,
        hint=f"the script can be run by hand on {node.name}: sh {path}",
        affects=frozenset({"containers", "ports", "npu-smi", "processes", "log-tails", "stale-secrets"}),
    )


def _await(process: Process, wave: Wave, timeout: float, cluster: Cluster) -> Call:
    def do(node: Node) -> Result:
        began = clock.monotonic()
        while True:
            if _started(node, process, wave, cluster):
                return Result(f"{process.name} started", 0, "", seconds=clock.monotonic() - began)
            waited = clock.monotonic() - began
            if waited > timeout:
                raise autopsy.not_ready(cluster, process, f"{wave.started} did not hold within {timeout:.0f} s")
            node.progress(JobProgress(None, f"{process.name}: waiting until {wave.started}"))
            clock.sleep(min(LOOK_EVERY, 0.3 + waited / 2))

    return Call(label=f"wait until {process.name} has started", do=do, affects=frozenset())


def _started(node: Node, process: Process, wave: Wave, cluster: Cluster) -> bool:
    own = Containers(node.settings.cluster)
    facts: list[Fact[object]] = [own]
    kind, _, purpose = wave.started.partition(":")
    if kind == "port":
        facts.append(Ports())
    node.observe(facts)
    container = node.get(own).process(process.name)
    if container is None or not container.running:
        raise autopsy.ended(cluster, process, container)
    return kind != "port" or node.get(Ports()).holder(process.ports[purpose]) is not None
