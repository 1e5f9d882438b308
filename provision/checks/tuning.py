"""The operating system is tuned as vllm-ascend's tuning guide asks: it costs speed where it is not.

Processors at full frequency (governor ``performance``), no migration of pages between NUMA nodes
(``kernel.numa_balancing`` 0), no swapping of idle servers (``vm.swappiness`` 0, which matters only where there is
swap), interrupts left where the driver put them (irqbalance off) [domain 4.4]. Transparent huge pages for every program
(``always``) stall threads while the kernel makes room for them; ``madvise`` gives them to those that ask.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Literal

from pydantic import Field

from provision.actions import Action
from provision.checks import undo
from provision.checks.base import CheckArgs, Finding, Level
from provision.checks.support import ascend, look
from provision.facts.base import Fact
from provision.facts.services import Services
from provision.facts.sysctl import Sysctl
from provision.facts.system import Memory
from provision.facts.tuning import Tuning
from provision.inventory.model import Settings
from provision.node import Node
from provision.results import ActionResult

CODE = "N24"
LEVEL = "warn"
SCOPE = "node"
THOROUGH = True

applies = ascend

_THP = "/sys/kernel/mm/transparent_hugepage/enabled"


class Args(CheckArgs):
    """What counts as tuned."""

    governor: str = Field("performance", description="frequency governor that all processors should have")
    numa_balancing: int = Field(0, ge=0, description="kernel.numa_balancing")
    swappiness: int = Field(0, ge=0, le=200, description="highest vm.swappiness, where there is swap")
    sched_migration_cost_ns: int = Field(50000, ge=0, description="kernel.sched_migration_cost_ns, where there is one")
    irqbalance: Literal["stopped", "any"] = Field("stopped", description="whether irqbalance may run")
    thp: tuple[str, ...] = Field(("madvise", "never"), description="settings of transparent huge pages that are fine")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Sysctl(), Tuning(), Services(), Memory()


def run(args: Args, node: Node) -> Iterable[Finding]:
    memory, kernel = look(node, Memory()), look(node, Sysctl())
    yield from _governor(args, node)
    balancing = kernel.number("kernel.numa_balancing")
    if balancing is not None and balancing != args.numa_balancing:
        yield _kernel("kernel.numa_balancing", balancing, args.numa_balancing, "pages are moved between NUMA nodes")
    swappiness = kernel.number("vm.swappiness")
    if swappiness is not None and swappiness > args.swappiness and memory.swap_total:
        yield _kernel("vm.swappiness", swappiness, args.swappiness, "idle servers are swapped out")
    cost = kernel.number("kernel.sched_migration_cost_ns")
    if cost is not None and cost != args.sched_migration_cost_ns:
        text = "threads stay on their processor by another measure than advised"
        yield _kernel("kernel.sched_migration_cost_ns", cost, args.sched_migration_cost_ns, text, level="info")
    yield from _irqbalance(args, node)
    if memory.thp and memory.thp not in args.thp:
        yield _huge_pages(args, memory.thp)


def fix(args: Args, node: Node, findings: tuple[Finding, ...]) -> Generator[Action, ActionResult, None]:
    """Kernel parameters, until the next boot."""
    yield from undo.kernel_settings(node.settings, findings)


def _kernel(name: str, found: int, wanted: int, harm: str, *, level: Level = "warn") -> Finding:
    return Finding(
        f"{name} is {found}: {harm}",
        undo.kernel_remedy(name, wanted),
        expected=str(wanted),
        observed=str(found),
        level=level,
        fix=undo.kernel_fix(name, wanted),
    )


def _governor(args: Args, node: Node) -> Iterator[Finding]:
    governors = look(node, Tuning()).governors
    others = {name: count for name, count in governors.items() if name != args.governor}
    if not others:
        return
    told = ", ".join(f"{name} ({count} of {sum(governors.values())})" for name, count in others.items())
    yield Finding(
        f"the processors' frequency governor is {told}",
        f"for f in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do echo {args.governor} >$f; done; "
        "to keep it: tuned-adm profile throughput-performance",
        expected=args.governor,
        observed=told,
    )


def _irqbalance(args: Args, node: Node) -> Iterator[Finding]:
    services = look(node, Services())
    if args.irqbalance == "any" or not services.runs("irqbalance"):
        return
    pid = services.running.get("irqbalance")
    yield Finding(
        "irqbalance runs" + (f" (pid {pid})" if pid else "") + ": it moves the NPUs' interrupts about",
        "systemctl disable --now irqbalance",
        expected="stopped",
        observed="running",
    )


def _huge_pages(args: Args, found: str) -> Finding:
    wanted = args.thp[0] if args.thp else "madvise"
    return Finding(
        f"transparent huge pages are made for every program ({found})",
        f"echo {wanted} >{_THP}; to keep it: echo 'w {_THP} - - - - {wanted}' >/etc/tmpfiles.d/huge-pages.conf",
        expected=" or ".join(args.thp),
        observed=found,
    )
