"""The proof of each check: a file with the check's name and one value, ``PROOF``.

Every check has a world in which it passes, one in which it finds something, and a fault of a rehearsal node that
triggers it end to end. ``test_proof`` asks for all three of every check there is; the scenarios set the faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from provision.actions import On
from provision.results import Result


@dataclass(frozen=True)
class Trial:
    """The subject of a trial: a cluster, and what its nodes answer to actions (``Call.do`` may be called)."""

    cluster: Any
    answer: Callable[[On], Mapping[str, Result]]


@dataclass(frozen=True)
class Proof:
    """``passes`` and ``fails`` make the subject (``tests.checks.world``: an inventory, a node, a cluster; a
    ``Trial``).

    ``faults`` are set on ``node`` of a rehearsal cluster of ``hardware`` (the second node, so that a culprit must be
    named); ``qnext`` is laid over its inventory. ``says`` is a regular expression that the finding's summary matches.
    ``alone``: the faults disturb other checks, so that they can't share a run with those of other proofs. ``launched``:
    the servers must run. ``pulled``: the image must be on the nodes, pulled after the faults were made.
    ``without_rehearsal``: why no fault can trigger it there.
    """

    passes: Callable[[], Any]
    fails: Callable[[], Any]
    says: str
    faults: Mapping[str, str] = field(default_factory=dict)
    node: str = "node2"
    hardware: str = "atlas-800-a3"
    qnext: Mapping[str, Any] = field(default_factory=dict)
    alone: bool = False
    launched: bool = False
    pulled: bool = False
    without_rehearsal: str = ""
