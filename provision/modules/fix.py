"""Mend what checks found and what is safe to mend: folders, our own leftovers, kernel settings with the old value kept.

Never resets NPUs, touches drivers, or ends a foreign process: a check offers a ``fix`` only where none of that happens.
What a fix changed outside of our own folder it records as a script that puts it back; ``down`` runs these.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from pydantic import Field

from provision import registry
from provision.actions import Action
from provision.checks import runner
from provision.checks.policy import Choice, Judgement, policy, require_known
from provision.facts.base import Fact
from provision.findings import CheckOutcome
from provision.inventory.model import Settings
from provision.modules.base import ModuleArgs, NodeRun, Outcome
from provision.node import Node
from provision.results import ActionResult

SCOPE = "node"


class Args(ModuleArgs):
    """Which checks' findings."""

    only: list[str] = Field(default_factory=list, description="only these checks, by name or code")
    skip: list[str] = Field(default_factory=list, description="not these checks, by name or code")
    judge: dict[str, object] = Field(
        default_factory=dict, description="as of the task check: what is off there is not mended"
    )


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return runner.required_facts(settings, _choice(args), ("node",))


def run(args: Args, node: Node) -> NodeRun:
    require_known(args.only, "--only")
    require_known(args.skip, "--skip")
    mended: list[str] = []
    for outcome in runner.run_node(node, _choice(args)):
        mended += yield from _mend(outcome, node, args.judge)
    return Outcome(f"mended: {', '.join(mended)}" if mended else "nothing that is safe to mend")


def _mend(outcome: CheckOutcome, node: Node, judge: Judgement) -> Generator[Action, ActionResult, list[str]]:
    """The fix of one check, where findings that warn or fail name one. Returns what was mended, in words."""
    spec = registry.check(outcome.check)
    mendable = tuple(finding for finding in outcome.findings if finding.fix and finding.level in ("warn", "fail"))
    if spec.fix is None or not mendable:
        return []
    yield from spec.fix(policy(node.settings, judge).args(spec), node, mendable)
    return [finding.fix for finding in mendable]


def _choice(args: Args) -> Choice:
    return Choice(tuple(args.only), tuple(args.skip), judge=args.judge)
