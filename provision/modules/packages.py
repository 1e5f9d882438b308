"""Ask an image once which packages it holds, and write that down on the node: ``facts`` shows it, nothing starts again.

The packages' own metadata is read, in a container without devices and network. An image that cannot tell is noted too,
so that it is not asked by every run; what differs between nodes, or from the release, is for the check same_packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provision.actions import Run
from provision.checks.same_packages import PACKAGES, PROGRAM
from provision.facts.base import Fact
from provision.facts.packages import NOTE, installed_packages
from provision.inventory.model import Settings
from provision.modules.base import ModuleArgs, NodeRun, Outcome
from provision.node import Node
from provision.serve import launch
from provision.serve.render import TRIAL
from provision.shell import join, quote

SCOPE = "node"

ASKING = 120.0
"""Seconds that the container may take: it is the first one of an image that was just unpacked."""


class Args(ModuleArgs):
    """None: the image is the inventory's."""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [installed_packages(settings)]


def run(args: Args, node: Node) -> NodeRun:
    """What is known is as of before this run: an image that it pulls is not there yet, and is asked."""
    fact = installed_packages(node.settings)
    before = node.get(fact)
    if node.settings.install.method == "image" and (not before.id or before.id != before.present):
        yield _asked(node.settings)
    versions = node.get(fact).versions
    named = ", ".join(f"{name} {versions[name]}" for name in ("vllm", "vllm-ascend", "torch") if _there(name, versions))
    return Outcome(named or "it does not tell its packages", data={"versions": dict(versions)})


def _there(name: str, versions: Mapping[str, str]) -> bool:
    return versions.get(name, "none") != "none"


def _asked(settings: Settings) -> Run:
    note = f"{launch.folder(settings)}/{NOTE}"
    labels = {"qnext.cluster": settings.cluster, "qnext.process": f"{TRIAL}packages"}
    command = join(
        (
            *("docker", "run", "--rm", "--network", "none", "--entrypoint", "timeout"),
            *(word for name, value in labels.items() for word in ("--label", f"{name}={value}")),
            *(settings.install.ref, f"{ASKING:.0f}", "python3", "-c", PROGRAM, *PACKAGES),
        )
    )
    return Run(
        label="ask the image for its packages",
        script=f"""\
n={quote(note)}
i=$(docker image inspect --format '{{{{.Id}}}}' {quote(settings.install.ref)}) || exit
mkdir -p "${{n%/*}}" || exit
{{ echo "id $i"; {command} </dev/null 2>/dev/null; }} >"$n.new"
mv -f "$n.new" "$n"
""",
        deadline=ASKING + 30,
        hint="docker run on the node shows what is wrong; the check smoke tells more",
        affects=frozenset({"installed-packages"}),
    )
