"""Docker gives containers no HTTP proxy that would stand between the nodes.

``proxies`` in the client's config.json go into every container, and then requests to other nodes ask the proxy
[domain 12 #44].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.interface import address_of
from provision.checks.support import look
from provision.facts.base import Fact
from provision.facts.proxy import Proxy
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve import launch

CODE = "N22"
LEVEL = "warn"
SCOPE = "node"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Proxy(), *launch.facts(settings)


def run(node: Node) -> Iterable[Finding]:
    value = look(node, Proxy())
    names = [name for name in value.proxies if name != "noProxy"]
    address = address_of(node)
    if names and address not in value.exempt and "*" not in value.exempt:
        yield Finding(
            f"{value.file} puts {', '.join(names)} into every container, and noProxy lacks {address}",
            "add the data addresses of all nodes to noProxy there, or set NO_PROXY in qnext.serve.env",
            expected=f"noProxy with {address}",
            observed=value.proxies.get("noProxy", "no noProxy"),
        )
