"""What a preflight check is made of. A check is a file in this folder with the names of ``CheckSpec``.

::

    '''One line that ``explain check`` shows, then the rule and its source.'''
    CODE = "N05"                        # the code of the domain's list
    LEVEL = "fail"                      # the default; an operator may set another: qnext.checks.<name>: warn|off|fail
    SCOPE = "node"                      # static: no node touched; node: one node; cluster: compares nodes
    def applies(settings): ...          # whether it has anything to say on such a cluster
    def facts(settings): ...            # not for static checks
    def run(subject): ...               # yields Findings; subject: Inventory | Node | Cluster. No finding = pass
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from provision.facts.base import Fact
from provision.inventory.model import Settings

Level = Literal["fail", "warn", "info", "off"]
CheckScope = Literal["static", "node", "cluster"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. ``level`` is filled by the runner from the check and the operator."""

    summary: str
    remedy: str
    node: str = ""
    expected: str = ""
    observed: str = ""
    check: str = ""
    code: str = ""
    level: Level = "fail"


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """A loaded check."""

    name: str
    doc: str
    code: str
    level: Level
    scope: CheckScope
    applies: Callable[[Settings], bool]
    facts: Callable[[Settings], Iterable[Fact[object]]]
    run: Callable[[Any], Iterable[Finding]]
