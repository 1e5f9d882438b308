"""No HTTP proxy stands between the nodes.

``proxies`` in the client's config.json go into every container, unasked; then requests to other nodes ask the proxy,
which does not know them [domain 12 #44]. Servers of this cluster are started with them emptied, so this strikes what
else is run there (a test by hand, an evaluation). Where ``qnext.serve.env`` sets a proxy, the nodes' data addresses
bypass it, unless a NO_PROXY is set there too: then it must name them one by one, by their network (10.0.0.0/24) or
all (*).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from provision.checks.base import Finding
from provision.checks.interface import address_of
from provision.checks.support import listed, look, per_node
from provision.facts.base import Fact
from provision.facts.proxy import Proxy
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.serve import launch

CODE = "N22"
LEVEL = "warn"
SCOPE = "cluster"

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Proxy(), *launch.facts(settings)


def run(cluster: Cluster) -> Iterable[Finding]:
    addresses = [address for node in cluster.nodes if (address := address_of(node))]
    yield from per_node(cluster, lambda node: _check(node, addresses))


def _check(node: Node, addresses: Sequence[str]) -> Iterator[Finding]:
    given = {name.lower(): str(value) for name, value in node.settings.serve.env.items() if str(value)}
    value = look(node, Proxy())
    yield from _environment(node, given, addresses)
    names = [name for name in value.proxies if name != "noProxy"]
    lacking = _not_exempt(addresses, value.exempt)
    if names and lacking:
        yield Finding(
            f"{value.file} puts {', '.join(names)} into every container, and noProxy lacks {listed(lacking)}",
            f"add {','.join(lacking)} to noProxy there (servers of this cluster are started without these proxies)",
            node=node.name,
            expected=f"noProxy with {listed(addresses)}",
            observed=value.proxies.get("noProxy", "no noProxy"),
        )


def _environment(node: Node, given: Mapping[str, str], addresses: Sequence[str]) -> Iterator[Finding]:
    names = [name for name in _PROXIES if name in given]
    lacking = _not_exempt(addresses, _words(given.get("no_proxy", "*")))
    if names and lacking:
        yield Finding(
            f"qnext.serve.env sets {', '.join(names)}, and NO_PROXY lacks {listed(lacking)}",
            f"add {','.join(lacking)} to NO_PROXY in qnext.serve.env, or leave NO_PROXY out there: it is computed",
            node=node.name,
            expected=f"NO_PROXY with {listed(addresses)}",
            observed=given["no_proxy"],
        )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _not_exempt(addresses: Sequence[str], exempt: Sequence[str]) -> list[str]:
    """Those of the addresses that a proxy would be asked for."""
    return [] if "*" in exempt else [a for a in addresses if not any(_covers(word, a) for word in exempt)]


def _covers(word: str, address: str) -> bool:
    if word == address:
        return True
    try:
        return "/" in word and ipaddress.ip_address(address) in ipaddress.ip_network(word, strict=False)
    except ValueError:
        return False
