"""The nodes' clocks agree within a second: logs are put in order by them, and certificates judged.

Each node tells its time while other probes run there, some seconds before or after the others do; by this machine's
clock it is known between which moments. Where the clocks are further apart than these explain, all are read once more,
by a probe that takes no time, and that is judged.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from provision import clock
from provision.checks.base import CheckArgs, Finding
from provision.checks.support import Skip, each
from provision.facts.base import Fact
from provision.facts.system import Clock
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X08"
LEVEL = "warn"
SCOPE = "cluster"

Offset = tuple[float, float]
"""Seconds that a clock is ahead of this machine's: at least, at most."""


class Args(CheckArgs):
    """How far apart they may be."""

    seconds: float = Field(1.0, gt=0, description="seconds by which the nodes' clocks may differ [domain 6.9]")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Clock(),)


def run(args: Args, cluster: Cluster) -> Iterable[Finding]:
    if len(cluster.nodes) == 1:
        raise Skip("one node")
    if _apart(_offsets(cluster)) <= args.seconds:
        return
    cluster.each(lambda node: node.observe((Clock(),)))
    offsets = _offsets(cluster)
    apart = _apart(offsets)
    if apart <= args.seconds:
        return
    early, late = min(offsets, key=lambda name: offsets[name][1]), max(offsets, key=lambda name: offsets[name][0])
    odd = early if -offsets[early][1] > offsets[late][0] else late
    yield Finding(
        f"the clocks of {early} and {late} differ by {apart:.{0 if apart >= 10 else 1}f} s",
        f"chronyc makestep, or timedatectl set-ntp true, on {odd}, which is further from this machine's clock",
        node=odd,
        expected=f"at most {args.seconds:g} s",
        observed=f"{apart:.1f} s",
    )


def _offsets(cluster: Cluster) -> dict[str, Offset]:
    """By node. A time of which nobody knows when it was told is taken to be of now."""
    now = clock.now()
    found: dict[str, Offset] = {}
    for name, value in each(cluster, Clock()).items():
        if value.epoch is not None:
            first, last = value.when or (now, now)
            found[name] = value.epoch - last, value.epoch - first
    return found


def _apart(offsets: dict[str, Offset]) -> float:
    """Seconds by which two clocks differ at least; 0 where they may be the same."""
    lows, highs = [low for low, _ in offsets.values()], [high for _, high in offsets.values()]
    return max(0.0, max(lows) - min(highs)) if offsets else 0.0
