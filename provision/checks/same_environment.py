"""The servers of a group get the same environment and engine flags, but for what must differ by node.

Ranks that were told different things hang in the first collective operation, or end with EI0005. Compared is what was
rendered, computed and declared together; left out is what belongs to a node: its addresses and interfaces, its rank,
what only the head has. Prefill and decode must agree on little: the model and the form of its KV cache. Replicas need
agree on nothing but the model; the rest only warns [domain 6.9]. Values of variables whose names speak of secrets are
shown as a digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from provision.accel.protocol import accelerator
from provision.checks import serving
from provision.checks.base import Finding, Level, Shown
from provision.checks.support import Skip, alone, compared
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

EVERYWHERE = frozenset(
    {
        *("command", "--served-model-name", "--block-size", "--kv-cache-dtype", "--dtype", "--quantization"),
        "env PYTHONHASHSEED",
    }
)
"""What prefill and decode must agree on, whose servers are told other things else: a KV cache is read as it was
written [domain 6.7, 6.9]."""

_REMEDY = "say it once for the whole group, not under a host: `qnext-provision render` shows what each node gets"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return launch.facts(settings)


def run(cluster: Cluster) -> Iterable[Shown]:
    plan = serving.planned(cluster).plan
    servers = [process for process in plan.processes if process.kind == "server"]
    if len(servers) < 2:
        raise Skip("there is one process only")
    told = {process.name: _told(process, cluster.settings) for process in servers}
    if alone(cluster.settings):
        yield from _compared("", servers, told, _level_of_replicas)
        return
    for group in plan.groups:
        own = [process for process in servers if process.name in group.processes]
        yield from _compared(group.name if len(plan.groups) > 1 else "", own, told, _level)
    if len(plan.groups) > 1:
        firsts = [plan.process(group.processes[0]) for group in plan.groups]
        shared = {name: {k: v for k, v in own.items() if k in EVERYWHERE} for name, own in told.items()}
        yield from _compared("", firsts, shared, _level)


def _compared(
    group: str,
    processes: Sequence[Process],
    told: Mapping[str, Mapping[str, str]],
    level: Callable[[str], Level],
) -> Iterator[Shown]:
    """Rows by what is compared, of the processes by node; by node and name, where a node has several of them."""
    crowded = len({process.node for process in processes}) < len(processes)
    columns = {f"{p.node}/{p.name}" if crowded else p.node: told[p.name] for p in processes}
    for subject in sorted({name for own in columns.values() for name in own}):
        values = {column: own.get(subject, "not set") for column, own in columns.items()}
        named = f"{group}: {subject}" if group else subject
        for shown in compared(named, values, _REMEDY, level=level(subject)):
            yield replace(shown, node=shown.node.partition("/")[0]) if isinstance(shown, Finding) else shown


def _told(process: Process, settings: Settings) -> dict[str, str]:
    """What a process is told: by the name of the variable or flag."""
    kind = accelerator(settings.hardware)
    own = OWN_ENV | kind.address_environment("").keys() | kind.interface_variables.keys()
    told = {f"env {name}": _shown(name, value) for name, value in process.env.items() if name not in own}
    first = process.argv.index("vllm") if "vllm" in process.argv else 0  # before it stands how Ray is joined
    flags = {name: value for name, value in arguments(process.argv[first:]).items() if name not in OWN_FLAGS}
    if "kv-transfer-config" in flags:
        flags["kv-transfer-config"] = _without_identity(flags["kv-transfer-config"])
    return told | {(f"--{name}" if name else "command"): value for name, value in flags.items()}


def _without_identity(config: str) -> str:
    """A connector's configuration without what each server has for itself: its name and first port."""
    try:
        given = json.loads(config)
    except ValueError:
        return config
    own = ("engine_id", "kv_port")
    return json.dumps({k: v for k, v in given.items() if k not in own}) if isinstance(given, dict) else config


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


def _level_of_replicas(subject: str) -> Level:
    """They never meet, but one client's requests go to any of them: other than the model, it is only odd."""
    return "fail" if subject in ("command", "--served-model-name") else "warn"


def _level(subject: str) -> Level:
    return "warn" if subject.removeprefix("--").partition(".")[0] in TOLERATED else "fail"
