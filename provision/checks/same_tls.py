"""The TLS switch of the NPUs' network is the same on all devices of all nodes.

Mixed, ranks refuse each other: ``Some ranks tlsStatus are inconsistent`` or a connect time-out [domain 3.3].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.npu_link import hccn
from provision.checks.support import Skip, ascend, differing, hanging
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X05"
LEVEL = "fail"
SCOPE = "cluster"

applies = ascend

_WORDS = {0: "off", 1: "on"}


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return () if settings.serve.topology == "single" else (hccn(settings),)


def run(cluster: Cluster) -> Iterable[Finding]:
    if len(cluster.nodes) == 1 or cluster.settings.serve.topology == "single":
        raise Skip("no ranks on several nodes")
    switches: dict[str, str] = {}
    for node in cluster.nodes:
        value = node.get(hccn(node.settings))
        told = sorted({_WORDS.get(d.tls, str(d.tls)) for d in value.devices if d.tls is not None})
        if told and not hanging(value.problems):
            switches[node.name] = " and ".join(told)
    odd = differing(switches)
    mixed = next((name for name, word in switches.items() if " and " in word), None)
    if odd or mixed:
        text, node_name = odd or (f"{switches[mixed or '']} on {mixed}", mixed or "")
        yield Finding(
            f"the NPUs' TLS switch is not the same everywhere: {text}",
            "hccn_tool -i N -tls -s enable 0 on every device of the nodes at odds (an administrator's decision)",
            node=node_name,
            expected="one setting",
            observed=switches[node_name],
        )
