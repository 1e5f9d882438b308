"""Prove that the cluster generates: tokens through the served name, from every engine of every server.

``/health`` and ``/v1/models`` answer 200 while generation is dead [vllm issue 53157], so only tokens count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from pydantic import Field

from provision import clock
from provision.actions import JobProgress
from provision.diagnose import autopsy
from provision.errors import FactError, ProofFailed
from provision.evaluate.prove import Proof, ServerProof, halves, place, prove, reaching
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.router import RouterChoice
from provision.inventory.model import Settings
from provision.modules import life
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.ready import check_alive
from provision.node import Cluster
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process
from provision.serve.router import chooses, kind_of

SCOPE = "cluster"

SHOWN = 8
"""Nodes of which the summary names the servers."""

LOOK_EVERY = 3.0
"""Seconds between looks at the processes while tokens are awaited: an ended one is known within 5 s."""


class Args(ModuleArgs):
    """How patiently."""

    timeout: float = Field(600.0, gt=0, description="seconds for the proof: kernels compile at the first tokens")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    choice = [RouterChoice(settings.cluster)] if chooses(settings) else []
    return [*launch.facts(settings), Containers(settings.cluster), *choice]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    return (yield from life.guarded(cluster, lambda: _prove(args, cluster)))


def _prove(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    planned = launch.observed(cluster)
    check_alive(cluster, planned.plan)
    try:
        proof = prove(
            reaching(cluster),
            planned.plan,
            deadline=args.timeout,
            token=planned.token,
            watch=_watch(cluster, planned.plan),
        )
    except ProofFailed as error:
        raise autopsy.not_generating(cluster, planned.plan, error) from error
    return Outcome(
        f"{proof.tokens} tokens from {planned.plan.served_name}",
        data={"text": proof.text, "tokens": proof.tokens, "servers": [_data(server) for server in proof.servers]},
        summary=_summary(planned.plan, proof, cluster),
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


def _data(server: ServerProof) -> dict[str, object]:
    return {
        "process": server.process,
        "node": server.node,
        "role": server.role,
        "tokens": server.tokens,
        "prompted": server.prompted,
        "engines": dict(server.engines),
    }


def _summary(plan: LaunchPlan, proof: Proof, cluster: Cluster) -> dict[str, str]:
    several = len(plan.servers) > 1
    return {
        "endpoint": plan.endpoint,
        **({"router": _router(cluster, plan.entry)} if plan.entry.kind == "router" else {}),
        "model": plan.served_name,
        **({"servers": _by_node(plan)} if several else {"ranks": _ranks(plan)}),
        **({"engines": f"{plan.engines}, {_all_work(plan)}"} if several else {}),
        "answer": " ".join(proof.text.split())[:160],
    }


def _ranks(plan: LaunchPlan) -> str:
    ranks = ", ".join(place(process) for process in plan.processes)
    return ranks + (f" ({plan.engines} engines, all generating)" if plan.engines > 1 else "")


def _all_work(plan: LaunchPlan) -> str:
    return "all at work: prompts read, tokens generated" if halves(plan) else "all generating"


def _by_node(plan: LaunchPlan) -> str:
    """``4 on 2 nodes: replica0-1 on atlas-1; replica2-3 on atlas-2``: nodes beyond the first few are counted."""
    names: dict[str, list[str]] = {}
    for process in plan.processes:
        if process.kind == "server":
            names.setdefault(process.node, []).append(process.name)
    told = [f"{_together(own)} on {node}" for node, own in names.items()]
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    count = f"{sum(map(len, names.values()))} on {len(names)} node{'s' * (len(names) > 1)}"
    return f"{count}: {'; '.join(told[:SHOWN])}{more}"


def _together(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} to {names[-1]}"


def _router(cluster: Cluster, router: Process) -> str:
    """Which it is, and where. One with a program of the operator's own is of the kind that was declared."""
    declared = cluster.settings.serve.router.kind
    known = kind_of(router, _chosen(cluster, router)) or ("" if declared == "auto" else declared)
    return f"{known}, {place(router)}" if known else place(router)


def _chosen(cluster: Cluster, router: Process) -> str:
    """What the container said; whatever keeps it from being known is no reason to call the proof a failure."""
    node = next(node for node in cluster.nodes if node.name == router.node)
    if not chooses(node.settings):
        return ""
    with suppress(FactError):
        return node.get(RouterChoice(node.settings.cluster)).chosen
    return ""


def _next(plan: LaunchPlan, settings: Settings) -> tuple[str, ...]:
    body = json.dumps({"model": plan.served_name, "messages": [{"role": "user", "content": "Who are you?"}]})
    key = " -H 'Authorization: Bearer YOUR-KEY'" if settings.serve.api_key else ""
    return (f"curl {plan.endpoint}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{body}'",)
