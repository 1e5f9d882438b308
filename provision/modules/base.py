"""What a playbook module is made of. A module is a file in this folder with the names of ``ModuleSpec``.

::

    '''One line that ``explain module`` shows, then the story.'''
    SCOPE = "node"                      # or "cluster": runs once, sees all nodes
    class Args(ModuleArgs): ...         # its arguments, documented by Field(description=…)
    def facts(args, settings): ...      # the facts it will look at: observed up front, in one exec
    def run(args, node): ...            # a generator: yields Actions, receives their results, returns an Outcome
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from provision.actions import Action, On
from provision.facts.base import Fact
from provision.findings import CheckOutcome, Finding
from provision.inventory.model import Settings
from provision.results import ActionResult

Scope = Literal["node", "cluster"]


class ModuleArgs(BaseModel):
    """Base of all modules' arguments: strict, an unknown name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a module found or did, in a sentence; ``data`` is what ``register`` keeps.

    ``findings`` are shown one by one; one of level fail fails the task, on the node it names. ``checks`` are the
    outcomes that they stem from, for tables and reports. ``summary`` and ``next``
    go into the run's last words: result lines (endpoint, model) and commands to type. ``skipped``: there was nothing
    that this could be done to, which is no news.
    """

    message: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    summary: Mapping[str, str] = field(default_factory=dict)
    next: tuple[str, ...] = ()
    checks: tuple[CheckOutcome, ...] = ()
    skipped: bool = False


NodeRun = Generator[Action, ActionResult, Outcome | None]
ClusterRun = Generator[On, Mapping[str, ActionResult], Outcome | None]


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """A loaded module. ``run`` takes (args, Node) for scope node and (args, Cluster) for scope cluster."""

    name: str
    doc: str
    scope: Scope
    Args: type[ModuleArgs]
    facts: Callable[[Any, Settings], Iterable[Fact[object]]]
    run: Callable[[Any, Any], Generator[Any, Any, Outcome | None]]
