"""Kernel parameters, read from /proc/sys: one ``grep`` for all, and no ``sysctl`` needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints
from provision.results import Result

NAMES = (
    "fs.file-max",
    "fs.nr_open",
    "kernel.numa_balancing",
    "kernel.pid_max",
    "kernel.sched_migration_cost_ns",
    "kernel.shmmax",
    "kernel.threads-max",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.default.rp_filter",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_max_syn_backlog",
    "vm.max_map_count",
    "vm.nr_hugepages",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
    "vm.swappiness",
    "vm.zone_reclaim_mode",
)
"""What checks and comparisons of nodes look at [domain.md 3.4, 4.4, 14.2]."""


@dataclass(frozen=True, slots=True)
class SysctlValue:
    """``values`` by dotted name, blanks folded to one space; a parameter that the kernel doesn't have is missing.

    (``kernel.sched_migration_cost_ns`` went to debugfs with Linux 5.13; ``numa_balancing`` needs NUMA.)
    """

    values: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def number(self, name: str) -> int | None:
        """The parameter as a number; None where it is missing or none."""
        text = self.values.get(name, "")
        return int(text) if re.fullmatch(r"-?[0-9]{1,20}", text) else None

    def ports(self, name: str) -> tuple[range, ...]:
        """Ports of ``net.ipv4.ip_local_reserved_ports`` (``60000-60031,8080``), or of ``ip_local_port_range`` (``32768
        60999``)."""
        text = self.values.get(name, "")
        if name.endswith("_range"):
            text = text.replace(" ", "-")
        found = re.findall(r"(?<![0-9])([0-9]{1,5})(?:-([0-9]{1,5}))?(?![0-9])", text)
        return tuple(range(int(first), int(last or first) + 1) for first, last in found)


@dataclass(frozen=True, slots=True)
class Sysctl(Fact[SysctlValue]):
    """Kernel parameters by dotted name."""

    name: ClassVar[str] = "sysctl"
    names: tuple[str, ...] = NAMES

    def script(self) -> str:
        paths = [_path(name) for name in self.names if re.fullmatch(r"[a-z0-9_][A-Za-z0-9_./-]*", name)]
        return f"grep -sH '' {' '.join(paths)} /dev/null\n:\n"

    def parse(self, raw: Result) -> SysctlValue:
        names = {_path(name): name for name in self.names}
        found: dict[str, str] = {}
        for line in raw.stdout.splitlines():
            path, _, value = line.partition(":")
            if path in names:
                found.setdefault(names[path], " ".join(value.split()))
        problems = complaints(raw)
        if self.names and not found:
            problems += ("nothing of /proc/sys could be read",)
        return SysctlValue(found, problems)


def _path(name: str) -> str:
    """As sysctl(8) does: a name with slashes may hold dots (``net/ipv4/conf/eth0.5/rp_filter``)."""
    return "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))
