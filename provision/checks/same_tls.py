"""The TLS switch of the NPUs' network is the same on all devices of all nodes.

Mixed, ranks refuse each other: ``Some ranks tlsStatus are inconsistent`` or a connect time-out [domain 3.3].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding, Shown
from provision.checks.npu_link import hccn
from provision.checks.support import Skip, alone, ascend, compared, span
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "X05"
LEVEL = "fail"
SCOPE = "cluster"

applies = ascend

_SUMMARY = "the NPUs' TLS switch is not the same everywhere"
_REMEDY = "hccn_tool -i N -tls -s enable 0 on every device of the nodes at odds (an administrator's decision)"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return () if alone(settings) else (hccn(settings),)


def run(cluster: Cluster) -> Iterable[Shown]:
    if len(cluster.nodes) == 1 or alone(cluster.settings):
        raise Skip("no ranks on several nodes")
    switches = {node.name: word for node in cluster.nodes if (word := _switch(node))}
    yield from compared("NPU network TLS", switches, _REMEDY, summary=_SUMMARY)
    if len(set(switches.values())) == 1 and (mixed := next(iter(switches.values()))).startswith("mixed"):
        yield Finding(f"{_SUMMARY}: {mixed} on all nodes", _REMEDY, expected="one setting", observed=mixed)


def _switch(node: Node) -> str:
    """``on``, ``off``, or which devices differ; empty where nothing is told."""
    value = node.get(hccn(node.settings))
    on = [device.device for device in value.devices if device.tls]
    off = [device.device for device in value.devices if device.tls == 0]
    if on and off:
        return f"mixed (on for davinci {span(on)})"
    return "on" if on else "off" if off else ""
