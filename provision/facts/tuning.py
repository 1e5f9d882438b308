"""How the processors are set up: frequency governors, NUMA nodes, isolated processors, hyper-threads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, section
from provision.results import Result


@dataclass(frozen=True, slots=True)
class NumaNode:
    """``cpus`` as the kernel lists them (``0-23``); empty for a node that is memory only."""

    number: int
    cpus: str = ""


@dataclass(frozen=True, slots=True)
class TuningValue:
    """``governors``: how many frequency policies have which one; empty where the kernel sets no frequencies (virtual
    machines, or the firmware does it). ``isolated_cpus``: taken from the scheduler (``isolcpus=``), as the kernel lists
    them. ``smt``: whether hyper-threads are on, None where the processor or kernel knows of none. Whether irqbalance
    runs, ``services`` tells; transparent huge pages are in ``memory``."""

    governors: Mapping[str, int] = field(default_factory=dict)
    numa_nodes: tuple[NumaNode, ...] = ()
    isolated_cpus: str = ""
    smt: bool | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tuning(Fact[TuningValue]):
    """Governors and processor layout."""

    name: ClassVar[str] = "tuning"

    def script(self) -> str:
        return """\
echo '@@ governors'; cat /sys/devices/system/cpu/cpufreq/policy*/scaling_governor 2>/dev/null
echo '@@ cpus'
grep -sH '' /sys/devices/system/node/node[0-9]*/cpulist /sys/devices/system/cpu/isolated \
  /sys/devices/system/cpu/smt/active /sys/devices/system/cpu/online
:
"""

    def parse(self, raw: Result) -> TuningValue:
        words = re.findall(r"^[a-z_]{3,15}$", section(raw.stdout, "governors"), re.MULTILINE)
        cpus = dict(line.partition(":")[::2] for line in section(raw.stdout, "cpus").splitlines())
        nodes = (
            (match[1], cpus[path]) for path in cpus if (match := re.search(r"/node/node([0-9]{1,5})/cpulist$", path))
        )
        smt = cpus.get("/sys/devices/system/cpu/smt/active")
        return TuningValue(
            governors=dict(sorted(Counter(words).items())),
            numa_nodes=tuple(sorted((NumaNode(int(n), text) for n, text in nodes), key=lambda node: node.number)),
            isolated_cpus=cpus.get("/sys/devices/system/cpu/isolated", ""),
            smt=smt == "1" if smt in ("0", "1") else None,
            problems=complaints(raw) + (() if cpus else ("/sys/devices/system/cpu could not be read",)),
        )
