"""What a container mounts from the driver is there and of the right type.

Docker makes an empty folder of a source that is missing, which breaks the host's driver for the next one [domain 4.3].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.accel.protocol import accelerator
from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, devices, listed, look
from provision.facts.base import Fact
from provision.facts.driver import MountSources
from provision.facts.npu_smi import NpuSmi
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N11"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(node: Node) -> Iterable[Finding]:
    devices(node)
    sources = {source.path: source.kind for source in look(node, MountSources()).sources}
    problems = accelerator(node.settings.hardware).recipe((), sources).problems
    if node.get(NpuSmi()).binary is None:
        problems = tuple(problem for problem in problems if "npu-smi is missing" not in problem.summary)
    by_remedy: dict[str, list[str]] = {}
    for problem in problems:
        by_remedy.setdefault(problem.remedy, []).append(problem.summary)
    for remedy, summaries in by_remedy.items():
        yield Finding(
            listed(summaries, 6), remedy, expected="the driver's files and folders", observed=listed(summaries, 6)
        )
