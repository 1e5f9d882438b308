"""Every NPU's network interface has a gateway, a detection address and a switch at its other end, and stays up.

What is missing here works within one network and one rack, then fails with ``EI0006`` towards others, or does so for
minutes at a time. An A3 whose NPUs talk over HCCS alone has none of it: a device without an address is left to the
check ``npu_link`` [domain 3.1]. These are four calls a device beyond those of ``npu_link``, one after the other, so it
is thorough: ``check`` asks, ``up`` does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pydantic import Field

from provision.checks.base import CheckArgs, Finding
from provision.checks.npu_link import hccn
from provision.checks.support import NPU_FACTS, Skip, alone, ascend, hanging, look, per_node, selected, span
from provision.facts.base import Fact
from provision.facts.hccn_detail import HccnDetail, HccnDetailDevice
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "N35"
LEVEL = "warn"
SCOPE = "cluster"
THOROUGH = True

applies = ascend

_TOOL = "hccn_tool"
_UNSET = (None, "0.0.0.0")


class Args(CheckArgs):
    """When a link counts as unsteady."""

    flaps: int = Field(3, ge=1, description="warn where a link went down so often within the last hours")
    hours: float = Field(24.0, gt=0, description="of the device's own clock")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return () if alone(settings) else (*NPU_FACTS, hccn(settings), _detail(settings))


def _detail(settings: Settings) -> HccnDetail:
    return HccnDetail(hccn(settings).devices)


def run(args: Args, cluster: Cluster) -> Iterable[Finding]:
    if len(cluster.nodes) == 1 or alone(cluster.settings):
        raise Skip("no ranks on several nodes")
    yield from per_node(cluster, lambda node: _check(args, node))


def _check(args: Args, node: Node) -> Iterator[Finding]:
    usable = set(selected(node))
    links = {device.device: device for device in look(node, hccn(node.settings)).devices}
    joined = {n for n in usable if n in links and links[n].address and links[n].link != "DOWN"}
    own = [d for d in look(node, _detail(node.settings)).devices if d.device in joined and not hanging(d.problems)]
    for what, remedy, lacks in _WANTED:
        numbers = [device.device for device in own if lacks(device)]
        if numbers:
            yield Finding(
                f"davinci {span(numbers)}: the NPU's network has no {what}",
                remedy.format(n=numbers[0]),
                node=node.name,
                expected=f"a {what}",
                observed="none",
            )
    yield from _unsteady(args, node, own)


_WANTED: tuple[tuple[str, str, Callable[[HccnDetailDevice], bool]], ...] = (
    (
        "gateway",
        _TOOL + " -i {n} -gateway -s gateway A, and gateway_{n}=A in /etc/hccn.conf (administrator)",
        lambda device: device.gateway in _UNSET,
    ),
    (
        "detection address",
        _TOOL
        + " -i {n} -netdetect -s address A (mostly the gateway), and netdetect_{n}=A in /etc/hccn.conf; without it "
        "net_health stays Init",
        lambda device: device.netdetect in _UNSET,
    ),
    (
        "switch that tells of itself (LLDP)",
        _TOOL + " -i {n} -lldp -g: LLDP may be off on the switch; else the cable goes somewhere else than to it",
        lambda device: not (device.switch_port or device.switch),
    ),
)


def _unsteady(args: Args, node: Node, own: Iterable[HccnDetailDevice]) -> Iterator[Finding]:
    downs = {d.device: d.history.downs_within(args.hours) for d in own if d.history}
    often = {number: count for number, count in downs.items() if count >= args.flaps}
    if often:
        first = max(often, key=lambda number: often[number])
        yield Finding(
            f"davinci {span(often)}: the NPU's link went down {often[first]} times within {args.hours:g} h",
            f"{_TOOL} -i {first} -link_stat -g tells when; cable, optics (`-optical -g`) or switch port",
            node=node.name,
            expected=f"fewer than {args.flaps}",
            observed=f"{often[first]} on davinci {first}",
        )
