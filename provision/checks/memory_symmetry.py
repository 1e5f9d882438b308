"""The dies of a running process use about the same memory.

Ranks of one engine hold equal shares of the weights and equal caches. A die that uses much less has no worker any more
or never loaded; one that uses much more has somebody else on it [domain 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from statistics import median

from pydantic import Field

from provision.accel.ascend.npu_smi import Die
from provision.checks import serving
from provision.checks.base import CheckArgs, Finding, Shown
from provision.checks.support import NPU_FACTS, Skip, ascend, numbered, span
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster
from provision.serve.plan import Process

CODE = "P05"
LEVEL = "warn"
SCOPE = "launched"

applies = ascend


class Args(CheckArgs):
    """How uneven."""

    share: float = Field(0.2, gt=0, lt=1, description="share of the median by which a die's used memory may differ")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (*serving.facts(settings), *NPU_FACTS)


def run(args: Args, cluster: Cluster) -> Iterable[Shown]:
    judged = 0
    for process in serving.planned(cluster).plan.processes:
        container = serving.container_of(cluster, process)
        if container is None or not container.running:
            continue
        dies = numbered(serving.node_of(cluster, process))
        used = {n: used for n in _own(process) if (used := _used(dies, n)) is not None}
        judged += len(used) > 1
        yield from _outliers(args, process, used)
    if not judged:
        raise Skip("npu-smi tells no memory of the processes' dies")


def _own(process: Process) -> tuple[int, ...]:
    """Its devices; in a privileged container those of all that it is told to take."""
    places = process.env.get(serving.VISIBLE, "").split(",")
    chosen = [process.devices[int(n)] for n in places if n.isdecimal() and int(n) < len(process.devices)]
    return tuple(chosen) or process.devices


def _used(dies: Mapping[int, Die], number: int) -> int | None:
    return dies[number].hbm_used_mb if number in dies else None


def _outliers(args: Args, process: Process, used: Mapping[int, int]) -> Iterator[Finding]:
    if len(used) < 2:
        return
    usual = median(used.values())
    for word, odd in (
        ("less", {n: mb for n, mb in used.items() if mb < usual * (1 - args.share)}),
        ("more", {n: mb for n, mb in used.items() if mb > usual * (1 + args.share)}),
    ):
        if odd:
            worst = min(odd.values()) if word == "less" else max(odd.values())
            yield Finding(
                f"davinci {span(odd)} of {process.name} use {word} memory than the others: {worst} MB, "
                f"most have {usual:.0f} MB",
                _LESS if word == "less" else _MORE,
                node=process.node,
                expected=f"{usual:.0f} MB, give or take {args.share:.0%}",
                observed=f"{worst} MB",
            )


_LESS = (
    "`npu-smi info` on the node: a die without a process row has lost its worker; `qnext-provision logs`, then "
    "`qnext-provision down` and `up`"
)
_MORE = "`npu-smi info` on the node lists the processes of the die: one that is not the server's takes its memory"
