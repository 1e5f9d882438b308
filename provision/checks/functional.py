"""The running server does what a client asks of it: a chat, a stream, and a refusal of a model that it does not have.

``/health`` says 200 while generation is dead, so answers are asked for. These are the short cases of ``qnext-provision
verify``, which has more (the same answer twice, sense, every engine). Asked is the entry point, as clients do; past a
router to each server goes ``verify --direct`` [domain 8.3, 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from provision.checks import serving
from provision.checks.base import CheckArgs, Finding, Level, Shown
from provision.checks.support import Skip
from provision.evaluate.prove import reaching
from provision.evaluate.verify import CaseResult, verify
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster
from provision.serve import launch

CODE = "P04"
LEVEL = "fail"
SCOPE = "launched"


class Args(CheckArgs):
    """Which questions."""

    cases: list[str] = Field(
        ["model", "seed-chat", "stream", "unknown-model"],
        description="cases of `verify` that are asked, by name; an empty list asks all",
    )


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return serving.facts(settings)


def run(args: Args, cluster: Cluster) -> Iterable[Shown]:
    api = serving.entry(cluster)
    if serving.dead(cluster, api.plan) and not launch.stands_alone(cluster.settings):
        raise Skip("a process of the group does not run: the check processes_alive says so")
    if not api.answer("/v1/models").ok:
        raise Skip("the server does not list its models: the check api_health says why")
    results = verify(reaching(cluster), api.plan, token=api.token, only=args.cases)
    levels: tuple[Level, ...] = ("fail", "warn")
    for level in levels:
        bad = [result for result in results if not result.ok and result.level == level]
        if bad:
            yield _wrong(api, bad, level)


def _wrong(api: serving.Api, bad: Sequence[CaseResult], level: Level) -> Finding:
    """One finding: what ails the server mostly makes it fail several."""
    first, others = bad[0], [result.name for result in bad[1:]]
    more = f"; so it fails {', '.join(others)}" if others else ""
    return Finding(
        f"{api.plan.served_name} fails {first.name} ({first.title}): {first.detail}{more}",
        f"`qnext-provision verify --only {first.name}` asks again; `qnext-provision logs` shows what the server says",
        node=api.node.name,
        expected=first.title,
        observed=first.detail[:200],
        level=level,
    )
