"""The nodes' clocks follow a time server, and tell the time that this machine tells.

Logs are put in order by the clocks, certificates and leases judged; a clock that follows nobody is right today and
wrong in a month [domain 14.2]. A minute off against this machine is told, once: where the nodes differ among
themselves, the check ``clock`` says which one is wrong. The times of the first look are taken while other probes run;
only one that seems off is read again, with this machine's time before and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import Field

from provision import clock
from provision.checks.base import CheckArgs, Finding
from provision.checks.support import each, listed, look, per_node
from provision.facts.base import Fact
from provision.facts.system import Clock
from provision.facts.timesync import TimeSync
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "N28"
LEVEL = "warn"
SCOPE = "cluster"
THOROUGH = True


class Args(CheckArgs):
    """Offsets in seconds."""

    seconds: float = Field(60.0, gt=0, description="seconds that clocks may be off this machine's [domain 6.9]")
    server_seconds: float = Field(1.0, gt=0, description="seconds that a clock may be off the server it follows")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Clock(), TimeSync()


def run(args: Args, cluster: Cluster) -> Iterable[Finding]:
    yield from _off_this_machine(args, cluster)
    yield from per_node(cluster, lambda node: _followed(args, node))


# ---- against this machine


def _off_this_machine(args: Args, cluster: Cluster) -> Iterator[Finding]:
    if all(abs(time - clock.now()) <= args.seconds for time in _times(cluster).values()):
        return
    before = clock.now()
    cluster.each(lambda node: node.observe((Clock(),)))
    after = clock.now()
    times = _times(cluster)
    if not times:
        return
    off = {name: _off(time, before, after) for name, time in times.items()}
    if max(times.values()) - min(times.values()) > args.seconds or all(abs(o) <= args.seconds for o in off.values()):
        return  # the check of the clocks among themselves tells of the odd one
    name = max(off, key=lambda name: abs(off[name]))
    whose = f"the clock of {name} is" if len(off) == 1 else f"the clocks of all {len(off)} nodes are"
    yield Finding(
        f"{whose} {_ahead(off[name])} of this machine's",
        "date on both shows which one is wrong; chronyc makestep, or timedatectl set-ntp true, sets it",
        node=name,
        expected=f"at most {args.seconds:g} s off",
        observed=_ahead(off[name]),
    )


def _times(cluster: Cluster) -> Mapping[str, float]:
    return {name: value.epoch for name, value in each(cluster, Clock()).items() if value.epoch is not None}


def _off(time: float, before: float, after: float) -> float:
    """Seconds by which the node's time is out of the span in which it was taken: ahead is positive."""
    return time - after if time > after else min(0.0, time - before)


def _ahead(seconds: float) -> str:
    text = f"{abs(seconds):.1f} s" if abs(seconds) < 10 else f"{abs(seconds):.0f} s"
    return f"{text} {'ahead' if seconds > 0 else 'behind'}"


# ---- against a time server


def _followed(args: Args, node: Node) -> Iterator[Finding]:
    value = look(node, TimeSync())
    restart = f"systemctl restart {value.service}" if value.service else "systemctl enable --now chronyd"
    if value.synchronized is False:
        yield Finding(
            f"the clock follows no time server ({value.service or 'no service'} is not synchronised)",
            f"{_asked(value.service)} shows why (servers that cannot be reached?); {restart}",
            node=node.name,
            expected="synchronised",
            observed="not synchronised",
        )
    elif value.synchronized is None:
        yield Finding(
            "no time service is known to run: the clock goes as it goes",
            "install and start one: systemctl enable --now chronyd (or timedatectl set-ntp true)",
            node=node.name,
            expected="chronyd, systemd-timesyncd or ntpd, synchronised",
            observed=listed(value.problems, 1) or "none",
        )
    elif value.offset is not None and abs(value.offset) > args.server_seconds:
        yield Finding(
            f"the clock is {_ahead(value.offset)} of {value.source or 'its server'}, which it follows",
            f"chronyc makestep, or {restart}",
            node=node.name,
            expected=f"at most {args.server_seconds:g} s off",
            observed=_ahead(value.offset),
        )


def _asked(service: str) -> str:
    return {"chronyd": "chronyc sources -v", "ntpd": "ntpq -pn"}.get(service, "timedatectl timesync-status")
