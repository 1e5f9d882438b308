"""No packet filter stands between the nodes, and SELinux does not confine the containers.

Beside the ports that are planned, ranks listen on random ones (ZMQ, the torch store, HCCL's negotiation), so all TCP
must be open between the nodes of a group; before servers that keep to their node only the router's node must be let in
[domain 3.4]. Judged is what the kernel has, whoever made the rules: a policy that drops
or rules that do count, unless all from the other nodes is accepted first; those for IPv6 where the data addresses are
of it. The trial ``host_tcp`` really connects; this check names what may be in its way. On a cluster of one node it only
tells that clients may be kept out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from provision.checks import serving
from provision.checks.base import CheckArgs, Finding
from provision.checks.interface import address_of
from provision.checks.support import listed, look, per_node
from provision.facts.base import Fact
from provision.facts.firewall import Firewall, FirewallValue, Rules
from provision.facts.network import Network
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.serve import launch

CODE = "N19"
LEVEL = "warn"
SCOPE = "cluster"


class Args(CheckArgs):
    """What may be on."""

    selinux: Literal["permissive", "enforcing"] = Field(
        "permissive", description="the strictest mode of SELinux that is not told"
    )


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Firewall(), *serving.facts(settings)


def run(args: Args, cluster: Cluster) -> Iterable[Finding]:
    addresses = {node.name: address for node in cluster.nodes if (address := address_of(node))}
    talks = serving.talking(cluster)
    yield from per_node(cluster, lambda node: _check(args, node, _comers(node, addresses, talks)))


def _comers(node: Node, addresses: Mapping[str, str], talks: Mapping[tuple[str, str], str]) -> Mapping[str, str]:
    """The addresses of the nodes that connect to this one, and its own."""
    return {name: a for name, a in addresses.items() if name == node.name or (name, node.name) in talks}


def _check(args: Args, node: Node, addresses: Mapping[str, str]) -> Iterator[Finding]:
    value, others = look(node, Firewall()), [address for name, address in addresses.items() if name != node.name]
    rules = value.rules_of(address_of(node))
    if rules is None:
        yield from _unseen(node, value)
    elif rules.closed and not (others and all(_accepted(node, rules, other) for other in others)):
        yield _closed(node, value, rules, list(addresses.values()) if others else [])
    if args.selinux == "permissive":
        yield from _selinux(node, value)


# ---- packet filters


def _accepted(node: Node, rules: Rules, other: str) -> bool:
    """Whether everything from the address is accepted: by its network, or by the interface that it comes in at."""
    own = node.get(Network()).interface_of(address_of(node))
    return any(_covers(source, other) or (own is not None and source == own.name) for source in rules.accepts)


def _covers(source: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(source, strict=False)
    except ValueError:
        return False


def _unseen(node: Node, value: FirewallValue) -> Iterator[Finding]:
    why = listed(value.problems, 1) or "no tool lists its rules"
    text = f"{value.tool} is active" if value.tool else "a packet filter may be active"
    yield Finding(
        f"{text}, and its rules cannot be listed: {why}",
        f"look by hand ({_list(value, node)}); "
        "qnext-provision check --only host_tcp tells whether nodes reach each other",
        node=node.name,
        expected="no packet filter between the nodes",
        observed=why,
        level="warn" if value.tool else "info",
    )


def _closed(node: Node, value: FirewallValue, rules: Rules, cluster: Sequence[str]) -> Finding:
    """``cluster``: the addresses of all its nodes, this one's too: so that nodes with the same rules are told once."""
    who = value.tool or "a packet filter (iptables, nftables)"
    ports = ", ".join(f"{port} ({purpose})" for purpose, port in launch.ports_on(node).items())
    harm = f"{who} may keep out {'the other nodes' if cluster else 'clients'}: {_what(rules)}"
    accepted = f"; all is accepted from {listed(rules.accepts)}" if rules.accepts else ""
    return Finding(
        harm,
        _open(value, cluster, node) + (f"; {_list(value, node)} shows the rules" if cluster else ""),
        node=node.name,
        expected=f"all TCP accepted from {listed(cluster)}" if cluster else f"open: {ports}",
        observed=_what(rules) + accepted,
        level="warn" if cluster else "info",
    )


def _what(rules: Rules) -> str:
    """The policy, or the rules that drop."""
    policy = "what no rule takes is dropped (policy drop)" if rules.input == "drop" else ""
    dropping = "dropped by rule " + listed([f"`{rule}`" for rule in rules.drops], 2) if rules.drops else ""
    return "; ".join(text for text in (policy, dropping) if text)


def _open(value: FirewallValue, cluster: Sequence[str], node: Node) -> str:
    """The commands that let the cluster's nodes in, or clients to the API."""
    port, each = node.settings.serve.port, f"for a in {' '.join(cluster)}; do"
    if value.tool == "firewalld":
        source = f"{each} firewall-cmd --permanent --zone=trusted --add-source=$a; done"
        return f"{source if cluster else f'firewall-cmd --permanent --add-port={port}/tcp'}; firewall-cmd --reload"
    if value.tool == "ufw":
        return f"{each} ufw allow from $a; done" if cluster else f"ufw allow {port}/tcp"
    which = f"-s {','.join(cluster)}" if cluster else f"-p tcp --dport {port}"
    six = _six(node)
    match = f"ip{six} saddr {{ {', '.join(cluster)} }}" if cluster else f"tcp dport {port}"
    return f"ip{six}tables -I INPUT {which} -j ACCEPT; of nftables: nft insert rule TABLE CHAIN {match} accept"


def _list(value: FirewallValue, node: Node) -> str:
    return {"firewalld": "firewall-cmd --list-all-zones", "ufw": "ufw status verbose"}.get(
        value.tool, f"ip{_six(node)}tables -S; nft list ruleset"
    )


def _six(node: Node) -> str:
    """The letter by which tools for IPv6 differ, where the node's data address is one."""
    return "6" if ":" in address_of(node) else ""


# ---- SELinux


def _selinux(node: Node, value: FirewallValue) -> Iterator[Finding]:
    if value.selinux == "enforcing":
        yield Finding(
            "SELinux is enforcing: it may keep containers from the driver, the devices and the weights",
            "setenforce 0; to keep it: sed -i 's/^SELINUX=enforcing/SELINUX=permissive/' /etc/selinux/config; "
            "what it refused: ausearch -m AVC -ts recent",
            node=node.name,
            expected="permissive or disabled",
            observed="enforcing",
        )
    elif value.selinux == "permissive" and value.selinux_configured == "enforcing":
        yield Finding(
            "SELinux will be enforcing from the next boot on",
            "sed -i 's/^SELINUX=enforcing/SELINUX=permissive/' /etc/selinux/config",
            node=node.name,
            expected="SELINUX=permissive",
            observed="SELINUX=enforcing",
            level="info",
        )
