"""What a container mounts from the driver is there and of the right type.

Docker makes an empty folder of a source that is missing, which breaks the host's driver for the next one [domain 4.3].
``--fix`` takes such a folder away where it is empty; the file that belongs there is the driver's to bring.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from provision.accel.protocol import accelerator
from provision.actions import Action, Run
from provision.checks.base import Finding, Level
from provision.checks.support import NPU_FACTS, ascend, devices, listed, look
from provision.facts.base import Fact
from provision.facts.driver import MountSources
from provision.facts.npu_smi import NpuSmi
from provision.inventory.model import Settings
from provision.node import Node
from provision.results import ActionResult
from provision.shell import quote

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
    made = _made_by_docker(node)
    told: set[str] = set()
    for remedy, summaries in by_remedy.items():
        path = summaries[0].partition(" ")[0]
        told.add(path)
        yield _finding(listed(summaries, 6), remedy, f"{_RMDIR}{path}" if path in made else "")
    for path in sorted(made - told):
        yield _finding(f"{path} is a folder, not a file", f"{_RMDIR}{path}", f"{_RMDIR}{path}", level="warn")


def _finding(summary: str, remedy: str, fix: str, *, level: Level = "fail") -> Finding:
    expected = "the driver's files and folders"
    return Finding(summary, remedy, expected=expected, observed=summary, level=level, fix=fix)


def fix(args: object, node: Node, findings: tuple[Finding, ...]) -> Generator[Action, ActionResult, None]:
    """Take the folders away that Docker made; one that holds something stays, and says so."""
    for finding in findings:
        path = finding.fix.removeprefix(_RMDIR)
        yield Run(
            label=f"rmdir {path}",
            script=f"rmdir -- {quote(path)}\n",
            hint=f"ls -la {path} shows what somebody put there",
            affects=frozenset({"mount-sources", "npu-smi", "hccn"}),
        )


_RMDIR = "rmdir "


def _made_by_docker(node: Node) -> set[str]:
    """Folders where the driver has files."""
    sources = node.get(MountSources()).sources
    return {source.path for source in sources if source.kind == "dir" and source.expected == "file"}
