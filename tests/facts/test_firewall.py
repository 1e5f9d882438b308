"""Packet filters as openEuler, Ubuntu and Debian have them, and what can't be told."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.facts.firewall import Firewall, FirewallValue, Rules, parse_iptables, parse_nft
from provision.results import Result

UFW = """\
-P INPUT DROP
-P FORWARD DROP
-P OUTPUT ACCEPT
-N ufw-before-input
-N ufw-not-local
-N ufw-user-input
-A INPUT -j ufw-before-input
-A ufw-before-input -i lo -j ACCEPT
-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-input -m conntrack --ctstate INVALID -j DROP
-A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-input -j ufw-not-local
-A ufw-before-input -j ufw-user-input
-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
-A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j DROP
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-input -s 10.77.0.0/16 -j ACCEPT
"""

FIREWALLD_IPTABLES = """\
-P INPUT ACCEPT
-P FORWARD ACCEPT
-P OUTPUT ACCEPT
-N INPUT_ZONES
-N IN_public
-N IN_public_allow
-N IN_trusted
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -j INPUT_ZONES
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -j REJECT --reject-with icmp-host-prohibited
-A INPUT_ZONES -s 10.1.0.0/16 -g IN_trusted
-A INPUT_ZONES -i enp189s0f0 -g IN_public
-A INPUT_ZONES -g IN_public
-A IN_public -j IN_public_allow
-A IN_public -p icmp -j ACCEPT
-A IN_public_allow -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
-A IN_trusted -j ACCEPT
"""

FIREWALLD_NFT = """\
table inet firewalld { # progname firewalld
\tchain filter_INPUT {
\t\ttype filter hook input priority filter + 10; policy accept;
\t\tct state { established, related } accept
\t\tct status dnat accept
\t\tiifname "lo" accept
\t\tct state invalid drop
\t\tjump filter_INPUT_ZONES
\t\treject with icmpx admin-prohibited
\t}

\tchain filter_INPUT_ZONES {
\t\tip saddr 10.1.0.0/16 goto filter_IN_trusted
\t\tiifname "bond0" goto filter_IN_public
\t\tgoto filter_IN_public
\t}

\tchain filter_IN_trusted {
\t\tjump filter_IN_trusted_allow
\t\taccept
\t}

\tchain filter_IN_trusted_allow {
\t}

\tchain filter_IN_public {
\t\tjump filter_IN_public_allow
\t\tmeta l4proto { icmp, ipv6-icmp } accept
\t}

\tchain filter_IN_public_allow {
\t\ttcp dport 22 accept
\t}
}
"""

DOCKER = """\
-P INPUT ACCEPT
-P FORWARD DROP
-P OUTPUT ACCEPT
-N DOCKER
-N DOCKER-ISOLATION-STAGE-2
-A FORWARD -o docker0 -j DOCKER
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
"""

KUBERNETES = """\
-P INPUT ACCEPT
-P FORWARD ACCEPT
-N KUBE-FIREWALL
-A INPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" \
-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FIREWALL -m comment --comment "drop marked packets" -m mark --mark 0x8000/0x8000 -j DROP
"""

NFT_HAND_WRITTEN = """\
table ip6 filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t}
}
table inet filter {
\tset peers {
\t\ttype ipv4_addr
\t\telements = { 10.0.0.1, 10.0.0.2,
\t\t\t     10.0.0.3 }
\t}
\tchain input {
\t\ttype filter hook input priority 0; policy drop;
\t\tct state vmap { established : accept, related : accept, invalid : drop }
\t\tiifname { "lo", "bond0" } counter packets 12 bytes 900 accept comment "drop nothing here"
\t\tip saddr @peers meta l4proto tcp accept
\t\tiifname != "eth0" tcp dport 443 accept
\t\ttcp dport 8000-9000 log prefix "blocked" reject with tcp reset
\t}
\tchain forward {
\t\ttype filter hook forward priority 0; policy drop;
\t}
}
"""

BLOCKED = 'tcp dport 8000-9000 log prefix "blocked" reject with tcp reset'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UFW, Rules("drop", "drop", (), ("10.77.0.0/16",))),
        (
            FIREWALLD_IPTABLES,
            Rules("accept", "accept", ("-A INPUT -j REJECT --reject-with icmp-host-prohibited",), ("10.1.0.0/16",)),
        ),
        (DOCKER, Rules("accept", "drop")),
        (KUBERNETES, Rules("accept", "accept")),
        (
            "-P INPUT ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j SSH\n"
            "-A SSH -s 10.0.0.0/8 -j ACCEPT\n-A SSH -j DROP\n",
            Rules("accept", "", ("-A SSH -j DROP",), ()),
        ),
        (
            "-P INPUT DROP\n-A INPUT -s 10.0.0.0/8 -p tcp -m state --state NEW -j ACCEPT\n"
            "-A INPUT -s 10.9.0.0/16 -p udp -j ACCEPT\n-A INPUT ! -s 10.8.0.0/16 -j ACCEPT\n-A INPUT -j A\n-A A -j A\n",
            Rules("drop", "", (), ("10.0.0.0/8",)),
        ),
        (
            "-P INPUT ACCEPT\n-A INPUT -p udp -m udp --dport 53 -j DROP\n-A INPUT -j cali-INPUT\n"
            '-A cali-INPUT -p ipencap -m comment --comment "cali:x" -m set ! --match-set cali40all src -j DROP\n',
            Rules("accept", ""),
        ),
        ("iptables v1.8.7 (legacy): can't initialize iptables table `filter': Permission denied\n", Rules()),
        ("", Rules()),
    ],
)
def test_iptables(text: str, expected: Rules) -> None:
    assert parse_iptables(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FIREWALLD_NFT, Rules("accept", "accept", ("reject with icmpx admin-prohibited",), ("10.1.0.0/16",))),
        (
            NFT_HAND_WRITTEN,
            Rules("drop", "drop", (BLOCKED,), ("bond0", "@peers")),
        ),
        ("", Rules("accept", "accept")),
        ("table inet x {\n\tchain y {\n\t\tdrop\n", Rules("accept", "accept")),
    ],
)
def test_nftables(text: str, expected: Rules) -> None:
    assert parse_nft(text) == expected


def look_at(text: str, **more: Any) -> FirewallValue:
    return Firewall().parse(Result("firewall", 0, text, **more))


OPEN = Rules("accept", "accept")
SELF = "@@ self\nfirewalld=no\nufw=no\nselinux=none\napparmor=none\nconfigured=\n"


def test_a_node_without_a_filter_is_open_and_says_so() -> None:
    value = look_at(SELF + "@@ end\n")
    assert value == FirewallValue(False, False, OPEN, "disabled", "", False, OPEN)
    assert value.rules is not None
    assert not value.rules.closed
    assert value.tool == ""


def test_firewalld_on_openeuler() -> None:
    text = "@@ self\nfirewalld=yes\nufw=no\nselinux=1\napparmor=none\nconfigured=permissive\n@@ nft\n"
    value = look_at(f"{text}{FIREWALLD_NFT}@@ end\n")
    assert (value.tool, value.selinux, value.selinux_configured) == ("firewalld", "enforcing", "permissive")
    assert value.rules is not None
    assert value.rules.closed


def test_what_two_filters_say_together() -> None:
    value = look_at(f"{SELF}@@ nft\n{FIREWALLD_NFT}@@ iptables\n{DOCKER}@@ end\n")
    assert value.rules == Rules("accept", "drop", ("reject with icmpx admin-prohibited",), ("10.1.0.0/16",))
    both = look_at(f"{SELF}@@ nft\n{FIREWALLD_NFT}@@ iptables\n{UFW}@@ end\n")
    assert both.rules == Rules("drop", "drop", ("reject with icmpx admin-prohibited",), ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "@@ untold nf_tables iptables\n",
            "the kernel's packet filter (nf_tables) is loaded, but no tool lists its rules",
        ),
        ("@@ nft\nOperation not permitted (you must be root)\n", "nft: Operation not permitted (you must be root)"),
        ("@@ nft\nnetlink: Error: cache initialization failed: Operation not permitted\n", "nft: netlink: Error: "),
        ("@@ iptables\nFatal: can't open lock file /run/xtables.lock: Permission denied\n", "iptables: Fatal: "),
        ("@@ iptables\n", "iptables: no answer"),
    ],
)
def test_rules_that_cannot_be_told(text: str, problem: str) -> None:
    value = look_at(SELF + text)
    assert value.rules is None
    assert value.problems[0].startswith(problem)


NFT6 = """\
table inet filter {
\tchain input {
\t\ttype filter hook input priority 0; policy accept;
\t\tip saddr 10.0.0.0/8 drop
\t\tip6 saddr fd00::/64 meta l4proto tcp accept
\t\tmeta nfproto ipv4 iifname "eth1" accept
\t\tip6 nexthdr udp drop
\t\tmeta nfproto ipv6 reject comment "ip saddr is another matter"
\t}
}
"""
NFT_OF_EACH = """\
table ip filter {
\tchain input {
\t\ttype filter hook input priority 0; policy accept;
\t}
}
table ip6 filter {
\tchain input {
\t\ttype filter hook input priority 0; policy drop;
\t\tiifname "bond0" accept
\t}
}
"""
REJECT6 = 'meta nfproto ipv6 reject comment "ip saddr is another matter"'
IP6TABLES = "-P INPUT DROP\n-P FORWARD ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -s fd00::/64 -j ACCEPT\n"
IP6TABLES += "-A INPUT -p ipv6-icmp -j ACCEPT\n"


@pytest.mark.parametrize(
    ("text", "rules", "rules6"),
    [
        (
            f"@@ nft\n{NFT6}",
            Rules("accept", "accept", ("ip saddr 10.0.0.0/8 drop",), ("eth1",)),
            Rules("accept", "accept", (REJECT6,), ("fd00::/64",)),
        ),
        (f"@@ nft\n{NFT_OF_EACH}", OPEN, Rules("drop", "accept", (), ("bond0",))),
        (
            f"@@ iptables\n{DOCKER}@@ ip6tables\n{IP6TABLES}",
            Rules("accept", "drop"),
            Rules("drop", "accept", (), ("fd00::/64",)),
        ),
        (f"@@ iptables\n{UFW}", Rules("drop", "drop", (), ("10.77.0.0/16",)), OPEN),
        (f"@@ iptables\n{DOCKER}@@ untold ip6_tables ip6tables\n", Rules("accept", "drop"), None),
        (f"@@ iptables\n{DOCKER}@@ ip6tables\nFatal: no\n", Rules("accept", "drop"), None),
    ],
    ids=["both", "tables of each", "ip6tables", "no IPv6", "untold", "an error"],
)
def test_each_family_has_its_rules(text: str, rules: Rules, rules6: Rules | None) -> None:
    value = look_at(f"{SELF}{text}@@ end\n")
    assert (value.rules, value.rules6) == (rules, rules6)
    assert bool(value.problems) == (rules6 is None)
    assert value.rules_of("10.0.0.1") == rules
    assert value.rules_of("fd00::1") == rules6


def test_unreadable_answers_are_unknown_not_off() -> None:
    value = look_at("@@ self\nfirewalld=\nufw=no\nselinux=\napparmor=\nconfigured=\n")
    assert (value.firewalld, value.selinux, value.apparmor) == (None, "", None)
    assert look_at("").problems == ("the firewall could not be looked at",)


def test_this_machine(look: Any) -> None:
    value = look(Firewall())
    assert value.firewalld is not None
    assert value.selinux in ("disabled", "permissive", "enforcing")
    assert value.rules is not None or value.problems


FILTERS = pytest.mark.skipif(
    Path("/proc/modules").exists() and not Path("/sys/module/nf_tables").is_dir(),
    reason="the kernel's packet filter is a module that isn't loaded, so no tool is asked",
)


@FILTERS
def test_nft_is_asked_where_it_is(look: Any, tool: Any) -> None:
    tool("nft", f"cat <<'EOF'\n{NFT_HAND_WRITTEN}EOF\n")
    rules = look(Firewall()).rules
    assert rules == parse_nft(NFT_HAND_WRITTEN)


@FILTERS
def test_a_filter_that_hangs_is_not_taken_for_an_open_one(look: Any, tool: Any) -> None:
    tool("nft", "exit 124")
    value = look(Firewall())
    assert value.rules is None
    assert value.problems == ("nft: Error: nft ended with exit status 124",)


@FILTERS
def test_both_tools_are_asked_where_there_is_no_nft(look: Any, tool: Any, tmp_path: Path) -> None:
    """With the variants for nftables, where the plain names may be those of the legacy tools."""
    for name, text in (("iptables-nft", DOCKER), ("ip6tables-nft", IP6TABLES)):
        tool(name, f"cat <<'EOF'\n{text}EOF\n")
    script = Firewall().script().replace("command -v nft ", "false ")
    done = subprocess.run(
        ["sh"],
        input=script,
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        check=False,
    )
    value = look_at(done.stdout)
    assert value.rules
    assert value.rules.forward == "drop"
    if Path("/proc/net/if_inet6").exists():
        assert value.rules6
        assert value.rules6.accepts == ("fd00::/64",)
