"""The nodes' clocks agree within a second: logs are put in order by them, and certificates judged.

The times of the first look are taken while other probes run, so a difference of some seconds there means little; only
where it is larger are all clocks read once more, at the same moment.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision import clock
from provision.checks.base import Finding
from provision.checks.support import Skip, each
from provision.facts.base import Fact
from provision.facts.system import Clock
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X08"
LEVEL = "warn"
SCOPE = "cluster"
ALLOWED = 1.0
"""Seconds."""
SUSPECT = 10.0
"""Seconds between first looks that call for a second one."""


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Clock(),)


def run(cluster: Cluster) -> Iterable[Finding]:
    if len(cluster.nodes) == 1:
        raise Skip("one node")
    if _spread(_times(cluster)) < SUSPECT:
        return
    cluster.each(lambda node: node.observe((Clock(),)))
    times = _times(cluster)
    if _spread(times) <= ALLOWED:
        return
    early, late = min(times, key=lambda name: times[name]), max(times, key=lambda name: times[name])
    here = clock.now()
    odd = early if here - times[early] > times[late] - here else late
    yield Finding(
        f"the clocks of {early} and {late} differ by {_spread(times):.0f} s",
        f"chronyc makestep, or timedatectl set-ntp true, on {odd}, which is further from this machine's clock",
        node=odd,
        expected=f"at most {ALLOWED:g} s",
        observed=f"{_spread(times):.1f} s",
    )


def _times(cluster: Cluster) -> dict[str, float]:
    return {name: value.epoch for name, value in each(cluster, Clock()).items() if value.epoch is not None}


def _spread(times: dict[str, float]) -> float:
    return max(times.values()) - min(times.values()) if times else 0.0
