"""What a preflight check is made of. A check is a file in this folder with the names of ``CheckSpec``.

::

    '''One line that is the rule. Then the story that ``explain N05`` shows: why, how it is judged, the source.'''
    CODE = "N05"                        # the code of the domain's list
    LEVEL = "fail"                      # the default: the worst that its findings can be
    SCOPE = "node"                      # static, node, cluster, trial or launched
    class Args(CheckArgs): ...          # thresholds, documented by Field(description=…); left out where there are none
    DEEP = True                         # of a trial: only with ``check --deep``; left out: False
    THOROUGH = True                     # costs more than a glance: not with ``check --quick``; left out: False
    def applies(settings): ...          # whether it has anything to say on such a cluster; left out: always
    def facts(settings): ...            # what it looks at; left out: nothing
    def run(args, subject): ...         # without Args: run(subject). Yields Findings and Exhibits; no finding = pass
    def fix(args, node, findings): ...  # a generator of Actions: what --fix does where findings name a ``fix``

``subject`` is an Inventory (static), a Node (node) or a Cluster. A **trial** runs something on the nodes: its ``run``
is a generator that yields ``On`` actions (``affects=frozenset()``) like a module and *returns* what it has to show; in
a plan its actions are only told. A **thorough** check asks facts that take long (dozens of calls of a tool, a kernel's
log), and what it finds need not keep servers from starting: ``check`` runs it, ``up`` leaves it and its facts out
unless it is named, so that an ``up`` that changes nothing stays quick. A **launched** check looks at the servers that
run; without any it is skipped.

Operators judge: levels and thresholds are set in ``playbooks/check.yaml`` and, stronger, in ``qnext.checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from provision.actions import Action, On
from provision.facts.base import Fact
from provision.findings import Finding, Level, Shown
from provision.inventory.model import Settings
from provision.results import ActionResult

__all__ = ["CheckArgs", "CheckScope", "CheckSpec", "Finding", "Level", "NoArgs", "Shown", "TrialRun"]

CheckScope = Literal["static", "node", "cluster", "trial", "launched"]

TrialRun = Generator[On, Mapping[str, ActionResult], Iterable[Shown]]
"""What a trial's ``run`` is."""


class CheckArgs(BaseModel):
    """Base of all checks' thresholds: strict, an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoArgs(CheckArgs):
    """Of a check without thresholds."""


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """A loaded check. ``run`` takes (thresholds, subject)."""

    name: str
    doc: str
    code: str
    level: Level
    scope: CheckScope
    applies: Callable[[Settings], bool]
    facts: Callable[[Settings], Iterable[Fact[object]]]
    run: Callable[[Any, Any], Any]
    Args: type[CheckArgs] = NoArgs
    deep: bool = False
    fix: Callable[[Any, Any, tuple[Finding, ...]], Generator[Action, ActionResult, object]] | None = None
    thorough: bool = False

    @property
    def rule(self) -> str:
        """The doc's first paragraph, on one line."""
        return " ".join(self.doc.partition("\n\n")[0].split())
