"""The NPUs' own network works, where ranks on several nodes need it.

Link up, health detection successful and an address on every device. On A3 these may read DOWN or Init while the fabric
works (HCCS needs none of them), so there they warn [samples/npu FIELDS]. A detection that succeeds has reached the
detection address, mostly the gateway; what else there should be (gateway, detection address, switch port) costs as many
calls again and is asked by ``npu_uplink``, whether addresses fit together by ``npu_addresses``, and whether NPUs reach
each other by ``fabric``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks.base import Finding, Level
from provision.checks.support import NPU_FACTS, Skip, alone, ascend, hanging, look, per_node, selected, span
from provision.facts.base import Fact
from provision.facts.hccn import Hccn, HccnDevice
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "N20"
LEVEL = "fail"
SCOPE = "cluster"

applies = ascend

_HCCN = "/usr/local/Ascend/driver/tools/hccn_tool"


def hccn(settings: Settings) -> Hccn:
    """The fact for the devices that a cluster may use: those that it names, else all that the node has."""
    return Hccn(settings.devices or ())


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return () if alone(settings) else (*NPU_FACTS, hccn(settings))


def run(cluster: Cluster) -> Iterable[Finding]:
    if len(cluster.nodes) == 1 or alone(cluster.settings):
        raise Skip("no ranks on several nodes")
    yield from per_node(cluster, _check)


def _check(node: Node) -> Iterator[Finding]:
    level: Level = "warn" if node.settings.hardware == "atlas-800-a3" else "fail"
    usable = selected(node)
    value = look(node, hccn(node.settings))
    if value.tool is None:
        yield Finding(
            "hccn_tool is missing", "reinstall the Ascend driver", node=node.name, expected=_HCCN, level=level
        )
        return
    own = [device for device in value.devices if device.device in usable]
    stuck = [device.device for device in own if hanging(device.problems)]
    if stuck:
        yield Finding(
            f"hccn_tool hangs on davinci {span(stuck)}",
            f"run `{_HCCN} -i {stuck[0]} -link -g` on the node; never two of them at once",
            node=node.name,
            expected="an answer within 5 s",
            observed="none",
        )
    yield from _states(node, [device for device in own if device.device not in stuck], level)


def _states(node: Node, own: list[HccnDevice], level: Level) -> Iterator[Finding]:
    down = [device.device for device in own if device.link not in (None, "UP")]
    ill: dict[str, list[int]] = {}
    for device in own:
        if device.device not in down and device.net_health not in (None, "Success"):
            ill.setdefault(device.net_health or "", []).append(device.device)
    if down:
        yield Finding(
            f"NPU network link is down on davinci {span(down)}",
            f"check cable, optics and switch port; {_HCCN} -i {down[0]} -optical -g, -lldp -g",
            node=node.name,
            expected="UP",
            observed="DOWN",
            level=level,
        )
    for health, devices in ill.items():
        init = health == "Init"
        yield Finding(
            f"NPU network health is {health} on davinci {span(devices)}",
            f"{_HCCN} -i {devices[0]} -netdetect -g"
            + (" shows no address: set one that answers (-netdetect -s address A)" if init else " and -gateway -g"),
            node=node.name,
            expected="Success",
            observed=health,
            level="warn" if init else level,
        )
    yield from _addresses(node, [d for d in own if d.device not in down], level)


def _addresses(node: Node, own: list[HccnDevice], level: Level) -> Iterator[Finding]:
    """Every device has an address of its own, except on an A3 where none has (HCCS alone)."""
    absent = [device.device for device in own if device.address is None]
    if absent and (level == "fail" or len(absent) < len(own)):
        yield Finding(
            f"no NPU network address on davinci {span(absent)}",
            f"{_HCCN} -i {absent[0]} -ip -s address A netmask M, and the same in /etc/hccn.conf",
            node=node.name,
            expected="ipaddr",
            observed="none",
            level=level,
        )
