"""The nodes' hosts are alike: processors, main memory, huge pages, swap, limits, kernel parameters, time zone.

One node with half the memory or other huge pages is the one that fails, at the worst time; unlike time zones make logs
of one moment look hours apart [domain 6.9]. What a check of each node judges by itself (``tuning``, ``limits``,
``memory``, ``ports``) is only put beside each other here. What has a comparison of its own is left to it: images,
drivers, models, network speed, clocks, operating systems.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from provision.checks.base import Shown
from provision.checks.support import GIB, compared, each
from provision.facts.base import Fact
from provision.facts.limits import UNLIMITED, Limits, LimitsValue
from provision.facts.sysctl import Sysctl
from provision.facts.system import Clock, Cpu, Memory, MemoryValue
from provision.facts.tuning import Tuning, TuningValue
from provision.findings import comparison
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X15"
LEVEL = "warn"
SCOPE = "cluster"


KERNEL = (
    *("net.core.rmem_max", "net.core.somaxconn", "net.core.wmem_max", "net.ipv4.conf.all.rp_filter"),
    *("net.ipv4.ip_forward", "net.ipv4.tcp_max_syn_backlog", "vm.overcommit_memory", "vm.zone_reclaim_mode"),
)
"""Parameters that nobody judges by themselves. Those that follow from a node's size are left out."""

JUDGED_KERNEL = (
    *("kernel.numa_balancing", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"),
    *("vm.max_map_count", "vm.swappiness"),
)
"""Parameters that checks of the node judge."""

Values = Mapping[str, str]


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Cpu(), Memory(), Clock(), Sysctl(), Limits(), Tuning())


def run(cluster: Cluster) -> Iterable[Shown]:
    for subject, values in _compared(cluster).items():
        told = _known(values)
        if told:
            yield from compared(subject, told, _remedy(subject), level="warn")
    for subject, values in _beside(cluster).items():
        told = _known(values)
        if told:
            yield comparison(subject, told, "info")


def _known(values: Values) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _compared(cluster: Cluster) -> dict[str, Values]:
    """What nobody else judges."""
    cpus, memories, tunings = each(cluster, Cpu()), each(cluster, Memory()), each(cluster, Tuning())
    return {
        "processors": {name: str(value.count or "") for name, value in cpus.items()},
        "processor model": {name: value.model for name, value in cpus.items()},
        "NUMA nodes": {name: str(len(value.numa_nodes) or "") for name, value in tunings.items()},
        "hyper-threads": {name: _switch(value.smt) for name, value in tunings.items()},
        "isolated processors": {name: _isolated(value) for name, value in tunings.items()},
        "main memory": _memories(memories),
        "huge pages": {name: _huge_pages(value) for name, value in memories.items()},
        "time zone": {name: value.utc_offset for name, value in each(cluster, Clock()).items()},
        **_kernel(cluster, KERNEL),
    }


def _beside(cluster: Cluster) -> dict[str, Values]:
    """What checks of each node judge."""
    memories, limits = each(cluster, Memory()), each(cluster, Limits())
    return {
        "swap": {name: _switch(None if v.swap_total is None else bool(v.swap_total)) for name, v in memories.items()},
        "transparent huge pages": {name: value.thp for name, value in memories.items()},
        "frequency governor": {name: "/".join(value.governors) for name, value in each(cluster, Tuning()).items()},
        "open files of a container": {name: _limit(value, "nofile") for name, value in limits.items()},
        "locked memory of a container": {name: _limit(value, "memlock") for name, value in limits.items()},
        **_kernel(cluster, JUDGED_KERNEL),
    }


def _kernel(cluster: Cluster, names: Iterable[str]) -> dict[str, Values]:
    values = each(cluster, Sysctl())
    return {name: {node: value.values.get(name, "") for node, value in values.items()} for name in names}


def _limit(value: LimitsValue, name: str) -> str:
    soft = value.container(name).soft
    return "" if soft is None else "unlimited" if soft == UNLIMITED else str(soft)


def _switch(on: bool | None) -> str:
    return "" if on is None else "on" if on else "off"


def _isolated(value: TuningValue) -> str:
    return value.isolated_cpus or ("none" if value.numa_nodes else "")


def _memories(values: Mapping[str, MemoryValue]) -> dict[str, str]:
    """In whole GB; within 3 % of the usual size is alike: firmware keeps a little for itself, never quite the same."""
    totals = {name: value.total for name, value in values.items() if value.total}
    usual = median(totals.values()) if totals else 0
    return {name: _gigabytes(usual if abs(t - usual) <= 0.03 * usual else t) for name, t in totals.items()}


def _gigabytes(count: float) -> str:
    return f"{count / GIB:.0f} GB"


def _huge_pages(value: MemoryValue) -> str:
    if not value.total:
        return ""
    return f"{value.hugepages_total} x {value.hugepage_size // 1024} kB" if value.hugepages_total else "none"


def _remedy(subject: str) -> str:
    if subject in KERNEL:
        return f"sysctl -w {subject}=… on the nodes at odds, and the same in /etc/sysctl.d"
    return _REMEDIES.get(subject, "level the nodes, or put unlike ones into clusters of their own")


_REMEDIES = {
    "huge pages": "sysctl -w vm.nr_hugepages=… to the same on all nodes, and in /etc/sysctl.d",
    "hyper-threads": "the firmware's setup, or /sys/devices/system/cpu/smt/control",
    "time zone": "timedatectl set-timezone UTC on the nodes at odds",
}
