"""A container of the image sees the node's devices and can load what a server loads.

The launch may still fail for what only the container has: a driver library that isn't mounted, an image for other
cards, a plugin that does not load. So one is started as the launch scripts would start it (devices, mounts, network,
environment), without a server: ``npu-smi info``, the number of devices that torch counts, vLLM with its platform
plugin, and ``pip check``, which is only told: publishers' own images have conflicts [domain 2.5, N27]. It is gone at
its end. On cpu: that vLLM loads.

Left out where the image is not on the node yet or the devices are in use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pydantic import Field

from provision.actions import On, Run
from provision.checks import inside, serving
from provision.checks.base import CheckArgs, Finding, Shown, TrialRun
from provision.checks.support import Skip
from provision.diagnose import catalogue
from provision.facts.base import Fact
from provision.facts.reading import section
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.results import ActionResult
from provision.serve.launch import Launch
from provision.serve.plan import Process

CODE = "N27"
LEVEL = "fail"
SCOPE = "trial"
DEEP = True

_PROGRAM = """\
def part(name):
    print("@@", name, flush=True)

npus = %(npus)s
part("devices")
import torch
if npus:
    import torch_npu
    print("count", torch.npu.device_count(), flush=True)
part("plugin")
import vllm
print("version", vllm.__version__, flush=True)
try:
    from vllm.platforms import current_platform
    print("platform", current_platform.device_type, flush=True)
except ModuleNotFoundError as error:
    if error.name != "vllm.platforms":
        raise
part("loaded")
"""
"""vLLM chooses its platform when it is first asked for, and logs which plugin it took."""

_ACTIVATED = re.compile(r"Platform plugin ascend is activated|^platform npu$", re.MULTILINE)


_STEPS = {"npu-smi": "npu-smi info", "devices": "import torch", "plugin": "import vllm", "pip": "pip check"}
"""By the mark that stands before it: what was under way."""


class Args(CheckArgs):
    """How patiently."""

    seconds: float = Field(300.0, gt=0, le=3600, description="seconds that the container may take")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return inside.facts(settings)


def run(args: Args, cluster: Cluster) -> TrialRun:
    made = serving.planned(cluster)
    chosen = {node.name: own for node in cluster.nodes if (own := serving.of_node(made.plan, node))}
    nodes = [node for node in cluster.nodes if node.name in chosen]
    left_out = {node.name: why for node in nodes if (why := _left_out(node, chosen[node.name]))}
    if len(left_out) == len(nodes):
        raise Skip(inside.left_out(left_out))
    tried = [node for node in nodes if node.name not in left_out]
    results = yield On({node.name: _container(args, made, node, chosen[node.name]) for node in tried})
    found: list[Shown] = [inside.untried(node, left_out[node.name]) for node in nodes if node.name in left_out]
    for node in tried:
        found += _judged(args, node, chosen[node.name], results[node.name])
    return found


def _left_out(node: Node, process: Process) -> str:
    return inside.without_image(node) or inside.occupied(node, process.devices)


def _container(args: Args, made: Launch, node: Node, process: Process) -> Run:
    return inside.command(
        made,
        node,
        process,
        ("sh", "-c", _script(npus=bool(process.devices))),
        name="smoke",
        title="Smoke container",
        seconds=args.seconds,
    )


def _script(*, npus: bool) -> str:
    program = (_PROGRAM % {"npus": npus}).replace("'", "'\\''")
    table = "echo '@@ npu-smi'; npu-smi info 2>&1; echo \"@@ npu-smi-exit $?\"\n" if npus else ""
    return f"""\
{table}echo '@@ python3'
python3 -c '{program}' 2>&1
echo '@@ pip'; python3 -m pip check 2>&1
echo "@@ pip-exit $?"
"""


# ---- what it says


def _judged(args: Args, node: Node, process: Process, result: ActionResult) -> Iterator[Finding]:
    refused = inside.not_started(node, result)
    if refused:
        yield refused
        return
    text = inside.said(result)
    broken = next(_broken(args, process, text, result.exit), None)
    if broken:
        summary, said = broken
        known = catalogue.explain(said)
        yield Finding(
            f"smoke container: {summary}",
            known.remedy if known else inside.EVIDENCE,
            node=node.name,
            expected=_expected(process),
            observed=_last(said)[:200],
        )
    else:
        yield from _conflicts(node, text)


def _broken(args: Args, process: Process, text: str, exit_status: int) -> Iterator[tuple[str, str]]:
    """What does not work, the first thing first: what comes after follows from it."""
    parts = {name: section(text, name) for name in ("npu-smi", "devices", "plugin")}
    if exit_status in inside.TIMED_OUT:
        where = [_STEPS.get(word, word) for word in re.findall(r"^@@ (\S+)$", text, re.MULTILINE)]
        yield f"no end within {args.seconds:.0f} s; it hangs at {where[-1] if where else 'its start'}", text
    if process.devices and "@@ npu-smi-exit 0" not in text:
        yield f"npu-smi fails: {_last(parts['npu-smi'])}", parts["npu-smi"]
    if "@@ plugin" not in text:
        yield (
            f"{'torch_npu' if process.devices else 'torch'} does not load: {_last(parts['devices'])}",
            parts["devices"],
        )
    count = re.search(r"^count (\d+)$", parts["devices"], re.MULTILINE)
    if process.devices and (count is None or int(count[1]) != len(process.devices)):
        seen = count[1] if count else "no number of"
        yield f"torch sees {seen} devices of {len(process.devices)}", parts["devices"]
    if "@@ loaded" not in text:
        yield f"vllm does not load: {_last(parts['plugin'])}", parts["plugin"]
    if process.devices and not _ACTIVATED.search(parts["plugin"]):
        yield "vLLM does not take the platform plugin ascend: is vllm-ascend installed for this vLLM?", parts["plugin"]


def _conflicts(node: Node, text: str) -> Iterator[Finding]:
    lines = [line for line in section(text, "pip").splitlines() if line.strip()]
    unasked = any("No module named pip" in line for line in lines)
    if "@@ pip-exit 0" in text or unasked or not lines:
        return
    yield Finding(
        f"`pip check` in the image finds {len(lines)} conflicts: {'; '.join(lines[:2])[:200]}",
        "harmless where the publisher's image has them too; in an image of your own install the versions it names",
        node=node.name,
        expected="No broken requirements found.",
        observed=lines[0][:200],
        level="info",
    )


def _expected(process: Process) -> str:
    return f"{len(process.devices)} devices, and vLLM with the plugin ascend" if process.devices else "vLLM loads"


def _last(text: str) -> str:
    """The last line that is no decoration: of a traceback, the error itself."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("+", "|", "="))]
    return lines[-1][:200] if lines else "no word"
