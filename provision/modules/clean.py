"""Remove everything of this cluster from the node's state folder: launch files, and jobs after ending them.

Keys that a spread from node to node has left behind, as it was broken off, go too. What ``check --fix`` changed outside
of that folder is put back first, from the record that it left there. What cannot be put back keeps the folder, as the
old value stands nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.actions import Run
from provision.checks.undo import undo_all
from provision.facts.authorized_keys import AuthorizedKeys
from provision.facts.base import Fact
from provision.facts.files import Listing
from provision.inventory.model import Settings
from provision.modules import spreading
from provision.modules.base import ModuleArgs, NodeRun, Outcome
from provision.node import Node
from provision.serve import launch
from provision.shell import quote
from provision.transport.jobs import cancel_all_script

SCOPE = "node"


class Args(ModuleArgs):
    """None: the folder is the inventory's."""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [Listing(launch.folder(settings)), AuthorizedKeys(settings.cluster)]


def run(args: Args, node: Node) -> NodeRun:
    folder = launch.folder(node.settings)
    if node.get(AuthorizedKeys(node.settings.cluster)).files:
        yield spreading.leftover(node.settings.cluster)
    if not node.get(Listing(folder)).exists:
        return Outcome(f"no {folder}")
    yield Run(
        label=f"end jobs, take fixes back, remove {folder}",
        script=f"""\
{cancel_all_script(f"{folder}/jobs")}
{undo_all(node.settings)}
[ -z "$_kept" ] || exit 1
rm -rf -- {quote(folder)}
rmdir -- {quote(node.settings.state_dir)} 2>/dev/null || :
""",
        hint="the script that it names holds the old value: set that by hand, remove the script, then down again",
        deadline=60.0,
        affects=frozenset({"launch-folder", "listing", "disk"}),
    )
    return Outcome(f"{folder} removed")
