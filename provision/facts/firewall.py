"""What may keep other nodes from reaching this one: packet filters by whatever tool made them, SELinux, AppArmor.

Servers talk to each other on ports that cannot be pinned, so all TCP must be open between nodes [domain.md 3.4]. Judged
is what the kernel has: rules that a packet to the host itself can meet. Forwarded packets (Docker's bridges) are
another matter; servers of ours use the host's network.

Listing rules would load the kernel's modules where there are none, so the tools are asked only where they are loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from provision.facts.base import Fact
from provision.facts.reading import complaints, pairs, section, sections
from provision.results import Result

SHOWN = 20
"""Rules that are kept of those that drop."""

Verdict = Literal["accept", "drop", "reject", "jump", "return", "other"]

_HARMLESS = re.compile(
    r"invalid|(-d|daddr) (127\.|::1|224\.|255\.255)|--mark|meta mark|dst-type|addrtype|pkttype|\bfib\b|icmp"
    r"|--limit|limit rate|-m recent|connlimit|TCPMSS|BROADCAST|MULTICAST|--tcp-flags|tcp flags"
    r"|(?<!! )-p (?!tcp\b|6\b|all\b)\S|\budp [sd]port|(l4proto|ip protocol|nexthdr) (?!tcp\b|6\b|\{|!)\S",
    re.IGNORECASE,
)
"""Rules with such conditions drop what no server sends: broken packets, broadcasts, floods, what is not TCP."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a packet filter does with packets to the host itself.

    ``input`` and ``forward``: what happens to what no rule takes (accept or drop). ``drops``: rules that drop or reject
    and that such a packet can meet, as their tool writes them, at most ``SHOWN``; those for broken packets and floods
    are left out. ``accepts``: source networks and interfaces from which everything is accepted.
    """

    input: str = ""
    forward: str = ""
    drops: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether something from outside may be kept out."""
        return self.input == "drop" or bool(self.drops)


@dataclass(frozen=True, slots=True)
class FirewallValue:
    """``firewalld`` and ``ufw``: whether they are active. ``rules``: nftables' and iptables' together, for IPv4;
    ``rules6``: for IPv6.

    ``selinux``: enforcing, permissive or disabled; ``selinux_configured``: from the next boot on. ``apparmor``: whether
    the kernel confines with it. What could not be told is None or empty, and a problem says why.
    """

    firewalld: bool | None = None
    ufw: bool | None = None
    rules: Rules | None = None
    selinux: str = ""
    selinux_configured: str = ""
    apparmor: bool | None = None
    rules6: Rules | None = None
    problems: tuple[str, ...] = ()

    @property
    def tool(self) -> str:
        """Who manages the rules: firewalld, ufw, or neither (empty)."""
        return "firewalld" if self.firewalld else "ufw" if self.ufw else ""

    def rules_of(self, address: str) -> Rules | None:
        """What is done with packets between addresses of this one's family."""
        return self.rules6 if ":" in address else self.rules


@dataclass(frozen=True, slots=True)
class Firewall(Fact[FirewallValue]):
    """Packet filters and mandatory access control."""

    name: ClassVar[str] = "firewall"

    def script(self) -> str:
        return _LOOK

    def parse(self, raw: Result) -> FirewallValue:
        said = pairs(section(raw.stdout, "self").splitlines())
        (found, unknown), (found6, unknown6) = _filters(raw.stdout, 4), _filters(raw.stdout, 6)
        problems = complaints(raw) + tuple(dict.fromkeys(unknown + unknown6))
        if not said:
            return FirewallValue(problems=problems or ("the firewall could not be looked at",))
        return FirewallValue(
            firewalld={"yes": True, "no": False}.get(said.get("firewalld", "")),
            ufw={"yes": True, "no": False}.get(said.get("ufw", "")),
            rules=None if unknown or raw.timed_out else _together(found),
            selinux={"1": "enforcing", "0": "permissive", "none": "disabled"}.get(said.get("selinux", ""), ""),
            selinux_configured=said.get("configured", "").lower(),
            apparmor={"Y": True, "N": False, "none": False}.get(said.get("apparmor", "")),
            rules6=None if unknown6 or raw.timed_out else _together(found6),
            problems=problems,
        )


# The filter below keeps a node with ten thousand rules (kube-proxy) from sending them all: of nftables what has a
# verdict, of iptables the filter table, and no more than 4000 lines of either.
_LOOK = """\
y=no
for d in /sys/fs/cgroup/system.slice /sys/fs/cgroup/systemd/system.slice /sys/fs/cgroup/unified/system.slice; do
  [ -d "$d/firewalld.service" ] && y=yes
done
[ $y = no ] && command -v firewall-cmd >/dev/null && [ ! -d /sys/fs/cgroup/system.slice ] &&
  [ ! -d /sys/fs/cgroup/systemd/system.slice ] && {
  timeout 4 firewall-cmd --state >/dev/null 2>&1; case $? in 0) y=yes ;; 124) y= ;; esac
}
u=no; [ -r /etc/ufw/ufw.conf ] && grep -qi '^ENABLED=yes' /etc/ufw/ufw.conf && u=yes
s=none; [ -d /sys/fs/selinux ] && { s=; { read -r s </sys/fs/selinux/enforce || [ -n "$s" ]; } 2>/dev/null; }
a=none; [ -e /sys/module/apparmor/parameters/enabled ] && {
  a=; { read -r a </sys/module/apparmor/parameters/enabled; } 2>/dev/null; }
echo '@@ self'
echo "firewalld=$y"; echo "ufw=$u"; echo "selinux=$s"; echo "apparmor=$a"
c=$(sed -n 's/^SELINUX=//p' /etc/selinux/config 2>/dev/null); echo "configured=$c"
ask() { timeout 4 "$@" 2>&1 || echo "Error: $1 ended with exit status $?"; }
n=no l=no
if [ -d /sys/module/nf_tables ] || [ ! -e /proc/modules ]; then n=yes
else grep -qs '/nf_tables.ko' "/lib/modules/$(uname -r)/modules.builtin" && n=yes; fi
grep -qsx filter /proc/net/ip_tables_names && l=yes
s=no t=no; [ -e /proc/net/if_inet6 ] && s=yes
grep -qsx filter /proc/net/ip6_tables_names && t=yes
list() {
  c=$2; command -v $2-$3 >/dev/null && c=$2-$3
  if command -v $c >/dev/null; then echo "@@ $2"; ask $c -S | head -n 4000
  else echo "@@ untold $1 $2"; fi
}
if [ $n = yes ]; then
  if command -v nft >/dev/null; then
    echo '@@ nft'
    ask nft -s list ruleset | grep -E '[{}]|policy|accept|drop|reject|jump|goto|vmap|not permitted|rror' | head -n 4000
  else
    list nf_tables iptables nft
    [ $s = no ] || list nf_tables ip6tables nft
  fi
fi
[ $l = no ] || list ip_tables iptables legacy
[ $t = no ] || list ip6_tables ip6tables legacy
echo '@@ end'
"""


Family = Literal[4, 6]
"""Of addresses."""


def _filters(text: str, family: Family) -> tuple[list[Rules], tuple[str, ...]]:
    """What each tool tells of the family's packets, and why it can't be told."""
    found: list[Rules] = []
    unknown: list[str] = []
    tool = {4: "iptables", 6: "ip6tables"}[family]
    for part in sections(text):
        if part.words in (("nft",), (tool,)):
            rules = parse_nft(part.body, family) if part.words == ("nft",) else parse_iptables(part.body)
            error = next((line for line in part.lines if re.match(r"(netlink: )?Error|.*not permitted", line)), "")
            error = error or ("" if rules.input else (part.lines or ["no answer"])[0])
            unknown += [f"{part.words[0]}: {error}"] if error else []
            found.append(rules)
        elif part.words[:1] == ("untold",) and part.words[2:] == (tool,):
            module = part.words[1]
            unknown.append(f"the kernel's packet filter ({module}) is loaded, but no tool lists its rules")
    return found, tuple(unknown)


def _together(found: list[Rules]) -> Rules:
    """A packet must pass all filters; who is accepted by one but kept out by another isn't listed."""
    shut = [rules for rules in found if rules.closed]
    accepts = [a for a in (shut[0].accepts if shut else ()) if all(a in rules.accepts for rules in shut)]
    return Rules(
        input="drop" if any(rules.input == "drop" for rules in found) else "accept",
        forward="drop" if any(rules.forward == "drop" for rules in found) else "accept",
        drops=tuple(text for rules in found for text in rules.drops)[:SHOWN],
        accepts=tuple(accepts),
    )


# ---- chains and rules, whatever they came from


@dataclass(frozen=True, slots=True)
class _Rule:
    """``sources``: networks and interfaces it is for; ``conditions``: what else it asks of a packet, beyond being TCP
    and new."""

    text: str
    verdict: Verdict
    target: str = ""
    sources: tuple[str, ...] = ()
    conditions: str = ""

    @property
    def harmful(self) -> bool:
        """Whether it keeps out what a server may send."""
        return self.verdict in ("drop", "reject") and not _HARMLESS.search(self.conditions)


@dataclass(slots=True)
class _Filter:
    """Chains by name, with the base chains of both hooks and their policies."""

    chains: dict[str, list[_Rule]] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    forwards: dict[str, str] = field(default_factory=dict)

    def rules(self) -> Rules:
        drops = [rule.text for rule in self._met() if rule.harmful]
        open_to = [rule for rule in self._met(plain=True) if not rule.conditions and self._accepts(rule)]
        own = ("lo", "127.0.0.0/8", "127.0.0.1", "::1", "::1/128")
        return Rules(
            input=_policy(self.inputs.values()),
            forward=_policy(self.forwards.values()),
            drops=tuple(dict.fromkeys(drops))[:SHOWN],
            accepts=tuple(dict.fromkeys(name for rule in open_to for name in rule.sources if name not in own)),
        )

    def _met(self, *, plain: bool = False) -> Iterator[_Rule]:
        """The rules of all chains that a packet to the host can come to; ``plain``: that every such packet comes to."""
        waiting, seen = list(self.inputs), set(self.inputs)
        while waiting:
            for rule in self.chains.get(waiting.pop(0), []):
                yield rule
                every = not rule.conditions and not rule.sources
                if rule.verdict == "jump" and rule.target not in seen and (every or not plain):
                    seen.add(rule.target)
                    waiting.append(rule.target)

    def _accepts(self, rule: _Rule, seen: tuple[str, ...] = ()) -> bool:
        """Whether whatever the rule is for is accepted in the end."""
        if rule.verdict != "jump":
            return rule.verdict == "accept"
        if rule.target in seen or len(seen) > 20:
            return False
        for inner in self.chains.get(rule.target, []):
            if inner.conditions or inner.sources:
                continue
            if inner.verdict in ("drop", "reject", "return"):
                return False
            if self._accepts(inner, (*seen, rule.target)):
                return True
        return False


def _policy(policies: Iterable[str]) -> str:
    said = list(policies)
    return "drop" if "drop" in said else "accept" if said else ""


# ---- iptables -S


def parse_iptables(text: str) -> Rules:
    """``iptables -S``, or ``ip6tables -S``: the filter table. ``input`` is empty where this isn't such output. Never
    raises."""
    made = _Filter()
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["-P"] and len(words) > 2:
            base = {"INPUT": made.inputs, "FORWARD": made.forwards}.get(words[1])
            if base is not None:
                base[words[1]] = "drop" if words[2] == "DROP" else "accept"
        elif words[:1] == ["-A"] and len(words) > 2:
            made.chains.setdefault(words[1], []).append(_iptables_rule(line))
    return made.rules()


_ANY_TCP = re.compile(
    r"-p tcp\b|-m (?:tcp|state|conntrack)\b|--(?:ct)?state \S*\bNEW\b\S*|(?:meta l4proto|ip protocol|ip6 nexthdr) tcp\b"
    r"|meta nfproto ipv[46]\b"
    r"|ct state (?:\{[^}]*\bnew\b[^}]*\}|\S*\bnew\b\S*)"
)
"""Conditions that every first packet of a TCP connection meets. ``-m`` only announces others."""


def _iptables_rule(line: str) -> _Rule:
    """``-A INPUT -s 10.0.0.0/16 -m comment --comment "x y" -j ACCEPT``."""
    text = re.sub(r"-m comment\b|--comment (\"(\\.|[^\"\\])*\"|\S+)", " ", line.strip())
    jump = re.search(r"(?<= )-[jg] (\S+)", text)
    given = " ".join((text[: jump.start()] if jump else text).split()[2:])
    plain = r"(?<!! )(?<!\S)-[si] (\S+)"
    rest = " ".join(_ANY_TCP.sub(" ", re.sub(plain, " ", given)).split())
    target = jump[1] if jump else ""
    known: dict[str, Verdict] = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "reject", "RETURN": "return"}
    verdict: Verdict = "other" if not target or target in _NO_CHAINS else "jump"
    return _Rule(line.strip(), known.get(target, verdict), target, tuple(re.findall(plain, given)), rest)


_NO_CHAINS = ("LOG", "MARK", "CONNMARK", "NFLOG", "ULOG", "TCPMSS", "AUDIT", "SET", "CT", "NOTRACK")
"""Targets that do something and let the packet go on."""


# ---- nft list ruleset


def parse_nft(text: str, family: Family = 4) -> Rules:
    """``nft list ruleset``: tables for the family's packets. No table at all accepts everything. Never raises."""
    made = _Filter()
    ours, others = {4: ("ip", _NFT_OF_6), 6: ("ip6", _NFT_OF_4)}[family]
    table = chain = ""
    for line in (raw.strip() for raw in text.splitlines()):
        if match := re.match(r"table (\w+) (\S+) \{", line):
            table, chain = (f"{match[1]} {match[2]}" if match[1] in (ours, "inet") else ""), ""
        elif match := re.match(r"chain (\S+) \{", line):
            chain = f"{table}/{match[1]}" if table else ""
        elif line == "}":
            chain = ""
        elif match := re.match(r"type filter hook (input|forward) .*", line):
            if chain:
                base = made.inputs if match[1] == "input" else made.forwards
                base[chain] = "drop" if re.search(r"policy drop", line) else "accept"
        elif chain and not line.startswith("type ") and not others.search(_NFT_SPEECH.sub(" ", line)):
            made.chains.setdefault(chain, []).extend(_nft_rules(line, table))
    found = made.rules()
    return Rules(found.input or "accept", found.forward or "accept", found.drops, found.accepts)


_NFT_OF_4 = re.compile(r"\b(?:ip (?:saddr|daddr|protocol)|nfproto ipv4)\b")
_NFT_OF_6 = re.compile(r"\b(?:ip6 (?:saddr|daddr|nexthdr)|nfproto ipv6)\b")
"""Rules of a table for both families that only packets of one can meet."""

_NFT_SOURCE = re.compile(r"(?:ip6? saddr|iifname|iif) (?!!=|vmap)(\{[^}]*\}|\S+)")
_NFT_SPEECH = re.compile(r'comment "[^"]*"|\bcounter( packets \d+ bytes \d+)?|log( prefix "[^"]*")?( level \w+)?|# .*$')
_NFT_VERDICT = re.compile(r"\b(?:(accept|drop|reject|return)\b|(?:jump|goto) ([^\s,}]+))")


def _nft_rules(line: str, table: str) -> Iterator[_Rule]:
    """``iifname "bond0" ip saddr { 10.0.0.0/16 } counter accept``; a verdict map is a rule for each of its entries."""
    vmap = re.match(r"(.*?)\bvmap \{(.*)\}", line)
    if vmap:
        key = vmap[1].strip()
        for entry in re.findall(r"([^,:{}]+(?::[^,:{}]+)*?) : ([^,]+)", vmap[2]):
            yield from _nft_rules(f"{key} {entry[0].strip()} {entry[1].strip()}", table)
        return
    text = _NFT_SPEECH.sub(" ", line)
    verdicts = list(_NFT_VERDICT.finditer(text))
    if not verdicts:
        return
    verdict = verdicts[-1]
    before = text[: verdict.start()]
    words = re.split(r"[{},\s]+", " ".join(_NFT_SOURCE.findall(before)))
    sources = [word.strip('"') for word in words if word]
    rest = " ".join(_ANY_TCP.sub(" ", _NFT_SOURCE.sub(" ", before)).split())
    kinds: dict[str, Verdict] = {"accept": "accept", "drop": "drop", "reject": "reject", "return": "return"}
    yield _Rule(line, kinds.get(verdict[1] or "", "jump"), f"{table}/{verdict[2]}", tuple(sources), rest)
