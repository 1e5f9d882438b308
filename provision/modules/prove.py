"""Prove that the cluster generates: tokens through the served name, from every engine.

``/health`` and ``/v1/models`` answer 200 while generation is dead [vllm issue 53157], so only tokens count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from pydantic import Field

from provision import clock
from provision.actions import JobProgress
from provision.diagnose import autopsy
from provision.errors import ProofFailed
from provision.evaluate.prove import Proof, prove
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.ready import check_alive
from provision.node import Cluster
from provision.serve import launch
from provision.serve.plan import LaunchPlan

SCOPE = "cluster"


LOOK_EVERY = 5.0
"""Seconds between looks at the processes while tokens are awaited: a look costs an exec a node."""


class Args(ModuleArgs):
    """How patiently."""

    timeout: float = Field(600.0, gt=0, description="seconds for the proof: kernels compile at the first tokens")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [*launch.facts(settings), Containers(settings.cluster)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    planned = launch.observed(cluster)
    check_alive(cluster, planned.plan)
    head = planned.plan.process(planned.plan.head)
    node = next(n for n in cluster.nodes if n.name == head.node)
    http = node.http(head.api_port or cluster.settings.serve.port)
    try:
        proof = prove(
            http, planned.plan, deadline=args.timeout, token=planned.token, watch=_watch(cluster, planned.plan)
        )
    except ProofFailed as error:
        raise autopsy.not_generating(cluster, planned.plan, error) from error
    return Outcome(
        f"{proof.tokens} tokens from {planned.plan.served_name}",
        data={"text": proof.text, "tokens": proof.tokens},
        summary=_summary(planned.plan, proof),
        next=_next(planned.plan, cluster.settings),
    )


def _watch(cluster: Cluster, plan: LaunchPlan) -> Callable[[], None]:
    """What to do while answers are awaited: fail where a process ends, at the latest ``LOOK_EVERY`` seconds after."""
    looked = clock.monotonic()

    def watch() -> None:
        nonlocal looked
        for node in cluster.nodes:
            node.progress(JobProgress(None, "waiting for tokens"))
        if clock.monotonic() - looked >= LOOK_EVERY:
            cluster.each(lambda node: node.observe([Containers(node.settings.cluster)]))
            check_alive(cluster, plan)
            looked = clock.monotonic()

    return watch


def _summary(plan: LaunchPlan, proof: Proof) -> dict[str, str]:
    ranks = ", ".join(f"{p.name} on {p.node}" for p in plan.processes)
    engines = f" ({plan.engines} engines, all generating)" if plan.engines > 1 else ""
    return {
        "endpoint": plan.endpoint,
        "model": plan.served_name,
        "ranks": f"{ranks}{engines}",
        "answer": " ".join(proof.text.split())[:160],
    }


def _next(plan: LaunchPlan, settings: Settings) -> tuple[str, ...]:
    body = json.dumps({"model": plan.served_name, "messages": [{"role": "user", "content": "Who are you?"}]})
    key = " -H 'Authorization: Bearer YOUR-KEY'" if settings.serve.api_key else ""
    return (f"curl {plan.endpoint}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{body}'",)
