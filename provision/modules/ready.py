"""Wait until the head answers, watching every process on every node meanwhile.

A process that ends fails the launch within seconds with its exit status, its last lines and the first cause; a wait
that runs out says what each process was doing. ``/health`` alone is no proof: ``prove`` follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pydantic import Field

from provision import clock
from provision.actions import JobProgress
from provision.diagnose import autopsy
from provision.evaluate.prove import Readiness, probe_ready
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.logs import LogTails
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process

SCOPE = "cluster"
LOOK_EVERY = 2.0
"""Seconds between looks, at most: an ended process is known within 5 s. The first looks follow each other faster."""


class Args(ModuleArgs):
    """How patiently."""

    timeout: float = Field(3000.0, gt=0, description="seconds until the head must answer")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [*launch.facts(settings), Containers(settings.cluster)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    plan = launch.observed(cluster).plan
    began = clock.monotonic()
    while True:
        check_alive(cluster, plan)
        readiness = look(cluster, plan)
        waited = clock.monotonic() - began
        if readiness.healthy:
            return Outcome(f"{plan.endpoint} answers" + (f" after {waited:.0f} s" if waited > LOOK_EVERY else ""))
        if readiness.dead or readiness.blocked or waited > args.timeout:
            reason = f"{readiness.blocked or readiness.problem}, {waited:.0f} s after it was started"
            raise autopsy.not_ready(cluster, plan.process(plan.head), reason)
        clock.sleep(min(LOOK_EVERY, 0.4 + waited / 2))
        cluster.each(_observe)


def look(cluster: Cluster, plan: LaunchPlan) -> Readiness:
    """What the head's server says now."""
    head = plan.process(plan.head)
    node = next(n for n in cluster.nodes if n.name == head.node)
    return probe_ready(node.http(head.api_port or cluster.settings.serve.port))


def check_alive(cluster: Cluster, plan: LaunchPlan) -> None:
    """Raise ``LaunchFailed`` where a process of the plan does not run."""
    for node in cluster.nodes:
        value = node.get(Containers(node.settings.cluster))
        for process in _of(plan.processes, node):
            container = value.process(process.name)
            if container is None or not container.running:
                raise autopsy.ended(cluster, process, container)


def _observe(node: Node) -> None:
    tails = LogTails(node.settings.cluster)
    node.observe([Containers(node.settings.cluster), tails])
    phases = [f"{name}: {phase(text)}" for name, text in node.get(tails).tails.items()]
    node.progress(JobProgress(None, "; ".join(phases)))


def _of(processes: Sequence[Process], node: Node) -> Iterable[Process]:
    return (p for p in processes if p.node == node.name)


_PHASES = (
    (re.compile(r"Application startup complete"), "up"),
    (re.compile(r"Capturing.*?(\d+%)"), "capturing graphs {}"),
    (re.compile(r"Capturing"), "capturing graphs"),
    (
        re.compile(r"GPU KV cache size|Available KV cache memory|# CPU blocks|Maximum concurrency"),
        "sizing the KV cache",
    ),
    (re.compile(r"Loading weights took|Model loading took"), "weights loaded"),
    (re.compile(r"Loading safetensors checkpoint shards:\s*(\d+%)"), "loading weights {}"),
    (re.compile(r"Starting to load model"), "loading weights"),
    (re.compile(r"Launching \d+ data parallel engine"), "joining the head"),
    (re.compile(r"vLLM API server version"), "starting"),
)
"""Log lines in the order of a start, last phase first [domain.md section 8.1]."""


def phase(log: str) -> str:
    """How far a server has come, from the end of its log."""
    for line in reversed(log.splitlines()):
        for pattern, text in _PHASES:
            if found := pattern.search(line):
                return text.format(*found.groups())
    return "starting"
