"""How processes are started: wave by wave, each by its launch script, and the wait until each has started.

No module of its own: ``start`` starts what does not run, ``life`` a group that is to live again.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Mapping, Sequence

from provision import clock
from provision.actions import Call, JobProgress, On, Run
from provision.diagnose import autopsy
from provision.errors import CommandFailed, LaunchFailed
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.network import Ports
from provision.node import Cluster, Node
from provision.results import ActionResult, Result
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process, Wave

Steps = Generator[On, Mapping[str, ActionResult], int]
"""A part of a module: yields actions, and counts what it has come to."""

CHANGED = frozenset(
    {"containers", "ports", "npu-smi", "processes", "log-tails", "stale-secrets", "router-choice", "ray-cluster"}
)
"""Facts that the start or end of a process alters."""

LOOK_EVERY = 1.0
"""Seconds between looks at a starting process, at most; the first ones follow each other faster."""

START = 120.0
"""Seconds that a launch script may take: docker answers late on a node that is busy reading weights."""


def start(cluster: Cluster, plan: LaunchPlan, waves: Sequence[Wave], names: Container[str], timeout: float) -> Steps:
    """Start those of ``names`` in these waves that do not run: how many it were. ``timeout``: seconds until a wave must
    have started. Raises ``LaunchFailed`` for a process that ends meanwhile."""
    nodes = {node.name: node for node in cluster.nodes}
    started = 0
    for wave in waves:
        processes = [plan.process(name) for name in wave.processes if name in names]
        missing = [p for p in processes if not _runs(nodes[p.node], p)]
        for batch in _one_a_node(missing):
            try:
                yield On({p.node: _launch(nodes[p.node], p) for p in batch})
            except CommandFailed as error:
                raise autopsy.explained(error) from None
        if missing:
            waits = {p.node: [q for q in missing if q.node == p.node] for p in missing}
            try:
                yield On({node: _await(each, wave, timeout) for node, each in waits.items()})
            except LaunchFailed as error:  # the logs of all are read once, however many nodes notice it
                raise autopsy.examined(cluster, error) from None
        started += len(missing)
    return started


def _runs(node: Node, process: Process) -> bool:
    container = node.get(Containers(node.settings.cluster)).answered(node.name).process(process.name)
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
        deadline=START,
        hint=f"the script can be run by hand on {node.name}: sh {path}",
        affects=CHANGED,
    )


def _await(processes: Sequence[Process], wave: Wave, timeout: float) -> Call:
    """The wait for the processes of one node."""
    names = ", ".join(process.name for process in processes)

    def do(node: Node) -> Result:
        began = clock.monotonic()
        while late := _late(node, processes, wave):
            waited = clock.monotonic() - began
            if waited > timeout:
                silent = _silence(node)
                raise autopsy.noticed_late(late[0], f"{wave.started} did not hold within {timeout:.0f} s{silent}")
            node.progress(JobProgress(None, f"{late[0].name}: waiting until {wave.started}"))
            clock.sleep(min(LOOK_EVERY, 0.3 + waited / 2))
        return Result(f"{names} started", 0, "", seconds=clock.monotonic() - began)

    has = "has" if len(processes) == 1 else "have"
    return Call(label=f"wait until {names} {has} started", do=do, affects=frozenset())


def _silence(node: Node) -> str:
    """Why nothing could be seen of the node's containers, where that is so."""
    value = node.get(Containers(node.settings.cluster))
    return "" if value.reachable else f"; docker does not answer: {'; '.join(value.problems) or 'no reason given'}"


def _late(node: Node, processes: Sequence[Process], wave: Wave) -> list[Process]:
    """Those that have not started yet. Raises ``LaunchFailed`` where one has ended."""
    own = Containers(node.settings.cluster)
    kind, _, purpose = wave.started.partition(":")
    facts: list[Fact[object]] = [own, Ports()] if kind == "port" else [own]
    node.observe(facts)
    value = node.get(own)
    if not value.reachable:
        return list(processes)
    for process in processes:
        container = value.process(process.name)
        if container is None or not container.running:
            raise autopsy.noticed_end(process, container)
    if kind != "port":
        return []
    return [p for p in processes if node.get(Ports()).holder(p.ports[purpose]) is None]
