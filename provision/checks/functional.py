"""The running server does what a client asks of it: a chat, a stream, and a refusal of a model that it does not have.

``/health`` says 200 while generation is dead, so answers are asked for. These are the short cases of ``qnext-provision
verify``, which has more (the same answer twice, sense, every engine) [domain 8.3, 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from provision.checks import serving
from provision.checks.base import CheckArgs, Finding, Shown
from provision.evaluate.verify import CaseResult, verify
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster

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
    head = serving.head(cluster)
    head.answer("/v1/models")
    for result in verify(head.http, head.plan, token=head.token, only=args.cases):
        if not result.ok:
            yield _wrong(head, result)


def _wrong(head: serving.Head, result: CaseResult) -> Finding:
    return Finding(
        f"{head.plan.served_name} fails the case {result.name} ({result.title}): {result.detail}",
        f"`qnext-provision verify --only {result.name}` asks again; `qnext-provision logs` shows what the server says",
        node=head.node.name,
        expected=result.title,
        observed=result.detail[:200],
        level=result.level,
    )
