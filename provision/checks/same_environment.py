"""The servers of all nodes get the same environment and engine flags, but for what must differ by node.

Ranks that were told different things hang in the first collective operation, or end with EI0005. Compared is what was
rendered, computed and declared together; left out is what belongs to a node: its addresses and interfaces, its rank,
what only the head has [domain 6.9]. Values of variables whose names speak of secrets are shown as a digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

from provision.accel.protocol import accelerator
from provision.checks import serving
from provision.checks.base import Level, Shown
from provision.checks.support import Skip, compared
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster
from provision.serve import launch
from provision.serve.argv import HEAD_ONLY, normal
from provision.serve.plan import Process
from provision.serve.rules.agreement import TOLERATED

CODE = "X10"
LEVEL = "fail"
SCOPE = "cluster"

OWN_FLAGS = HEAD_ONLY | {
    *("headless", "host", "port", "node-rank"),
    *("data-parallel-start-rank", "data-parallel-rank", "data-parallel-size-local"),
}
"""Flags that a node has for itself [domain 6.9]."""

OWN_ENV = frozenset({"ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"})
"""Variables that a node has for itself, beside those of its addresses and interfaces."""

_SECRET = re.compile(r"secret|token|api|access|passw|key|credential", re.IGNORECASE)
"""Names whose values may be secrets, as vLLM's collect_env takes them [domain 2.5]."""

_REMEDY = "say it once for the whole group, not under a host: `qnext-provision render` shows what each node gets"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return launch.facts(settings)


def run(cluster: Cluster) -> Iterable[Shown]:
    processes = serving.planned(cluster).plan.processes
    if len(processes) < 2:
        raise Skip("there is one process only")
    by_node = {process.node: _told(process, cluster.settings) for process in processes}
    for subject in sorted({name for told in by_node.values() for name in told}):
        values = {node: told.get(subject, "not set") for node, told in by_node.items()}
        yield from compared(subject, values, _REMEDY, level=_level(subject))


def _told(process: Process, settings: Settings) -> dict[str, str]:
    """What a process is told: by the name of the variable or flag."""
    kind = accelerator(settings.hardware)
    own = OWN_ENV | kind.address_environment("").keys() | kind.interface_variables.keys()
    told = {f"env {name}": _shown(name, value) for name, value in process.env.items() if name not in own}
    flags = {name: value for name, value in arguments(process.argv).items() if name not in OWN_FLAGS}
    return told | {(f"--{name}" if name else "command"): value for name, value in flags.items()}


def arguments(argv: Sequence[str]) -> dict[str, str]:
    """Flags by their normal name with their values; the words before them under an empty name."""
    found: dict[str, str] = {}
    name = ""
    for word in argv:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            name = normal(flag)
            found[name] = value if equals else ""
        else:
            found[name] = f"{found.get(name, '')} {word}".strip()
    return {name: value or "on" for name, value in found.items()}


def _shown(name: str, value: str) -> str:
    if _SECRET.search(name) and value:
        return f"digest {hashlib.sha256(value.encode()).hexdigest()[:8]}"
    return value or "empty"


def _level(subject: str) -> Level:
    return "warn" if subject.removeprefix("--").partition(".")[0] in TOLERATED else "fail"
