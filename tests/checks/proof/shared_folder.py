"""One node has another folder in the place of the shared one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provision.actions import On
from provision.results import Result
from tests.checks.proof import Proof, Trial
from tests.checks.world import pair, settings


def seen(text: str) -> Callable[[On], Mapping[str, Result]]:
    """The nodes but the head find what the head wrote, or say what is there instead."""
    return lambda group: {
        name: Result(action.label, int(bool(text) and name != "atlas-1"), text)
        for name, action in group.actions.items()
    }


def shared() -> object:
    return pair(settings(shared_folders=("/share",)))


PROOF = Proof(
    passes=lambda: Trial(shared(), seen("")),
    fails=lambda: Trial(shared(), seen("/dev/sda1")),
    says="/share on atlas-2 is not that of atlas-1|/share on node2 is not that of node1",
    faults={"share/unmounted": "1"},
    qnext={"shared_folders": ["/share"], "checks": {"shared_folder": {"seconds": 1}}},
)
