"""The images of all nodes hold the same versions of vLLM, its plugin, torch, Triton, transformers and CANN.

Equal image ids make that sure; where images were built or pulled at different times, ranks of unlike versions meet,
and CANN alone is enough to end them (EI0008) [domain 6.9, 2.5]. What is the same everywhere is compared with what the
table of compatibility says of the release, and warns where it is another version. The packages' own metadata is asked,
in a container without devices: that can be done while servers run, and costs a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic import Field

from provision.accel.ascend.cann import parse_cann
from provision.actions import On
from provision.checks import inside, serving
from provision.checks.base import CheckArgs, Shown, TrialRun
from provision.checks.compatibility import finding
from provision.checks.support import Skip, compared
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.facts.reading import section
from provision.findings import Finding
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.results import ActionResult
from provision.serve import stack

CODE = "X16"
LEVEL = "fail"
SCOPE = "trial"
DEEP = True

PACKAGES = (
    *("vllm", "vllm-ascend", "torch", "torch-npu", "triton-ascend", "transformers"),
    *("ray", "mooncake-transfer-engine-npu"),
)
"""What nodes must agree on [domain 2.5, 6.9]; one that no node's image has is no row."""

PROGRAM = """\
import sys
from importlib.metadata import PackageNotFoundError, version
print("package python", sys.version.split()[0])
for name in sys.argv[1:]:
    try:
        print("package", name, version(name))
    except PackageNotFoundError:
        print("package", name, "none")
"""

_CANN = """\
for f in /usr/local/Ascend/ascend-toolkit/latest/*/ascend_toolkit_install.info \\
  /usr/local/Ascend/cann/*/ascend_toolkit_install.info; do
  [ -f "$f" ] || continue
  echo '@@ cann'; cat "$f"; break
done
"""


class Args(CheckArgs):
    """How patiently."""

    seconds: float = Field(60.0, gt=0, le=600, description="seconds that the container may take")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (*serving.facts(settings), Image(settings.install.ref))


def run(args: Args, cluster: Cluster) -> TrialRun:
    made = serving.planned(cluster)
    chosen = {node.name: own for node in cluster.nodes if (own := serving.of_node(made.plan, node))}
    nodes = [node for node in cluster.nodes if node.name in chosen]
    without = {node.name: why for node in nodes if (why := inside.without_image(node))}
    asked = [node for node in nodes if node.name not in without]
    if not asked:
        raise Skip(inside.left_out(without))
    results = yield On(
        {
            node.name: inside.command(
                made,
                node,
                chosen[node.name],
                ("sh", "-c", f'python3 -c "$0" "$@"; {_CANN}', PROGRAM, *PACKAGES),
                name="packages",
                title="Versions in the image",
                seconds=args.seconds,
                devices=False,
            )
            for node in asked
        }
    )
    shown: list[Shown] = [inside.untried(node, without[node.name]) for node in nodes if node.name in without]
    for node in asked:
        refused = inside.not_started(node, results[node.name]) or inside.silent(
            node, results[node.name], "package python"
        )
        shown += [refused] if refused else []
    found = {name: _versions(result) for name, result in results.items()}
    return [*shown, *_rows(found), *_of_another_release(asked[0], found.values())]


def _versions(result: ActionResult) -> Mapping[str, str]:
    """Package to version; "none" for one that is not there."""
    found = dict(re.findall(r"^package (\S+) (\S+)$", result.stdout, re.MULTILINE))
    cann = parse_cann(section(result.stdout, "cann")).version
    return {**found, **({"CANN": cann or "none"} if found else {})}


def _of_another_release(node: Node, found: Iterable[Mapping[str, str]]) -> Iterator[Finding]:
    """What all nodes have, where the release is made for another version; where they differ, the rows say it."""
    seen = [versions for versions in found if versions]
    shared = set.intersection(*(set(versions.items()) for versions in seen)) if seen else set()
    same = {name: version for name, version in sorted(shared) if name in PACKAGES and version != "none"}
    yield from map(finding, stack.packages_judged(node, same))


def _rows(by_node: Mapping[str, Mapping[str, str]]) -> Iterator[Shown]:
    for name in ("python", *PACKAGES, "CANN"):
        values = {node: versions[name] for node, versions in by_node.items() if name in versions}
        if set(values.values()) - {"none"}:
            yield from compared(
                f"{name} in the image",
                values,
                "remove the image on the nodes at odds; `qnext-provision up` pulls it anew",
            )
