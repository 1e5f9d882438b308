"""Every host reaches those it works with over TCP, on the ports of the launch and on whatever others.

The ranks of a cluster meet on ports that nobody can name before (ZMQ, Gloo, HCCL's negotiation), so all TCP between
the nodes must be open, both ways [domain 3.4]. Looking at firewalls can't prove that: each node listens at its data
address, on its planned ports that are free now and on some that the system chooses, and every other connects and is
greeted with a word that only the right node knows. The listeners are ours, are ended at the end, and end by themselves
where nobody does it. How long connecting takes becomes a matrix; a pair far above the others is told (X09).

Tried are the nodes of a group with each other, and prefill with decode; a router only has to reach the planned ports of
its servers, which know nothing of each other.

A node needs python3, or nc or socat to listen and bash or nc to connect; without any of them it is said what could not
be tried.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from pydantic import Field

from provision import resources
from provision.accel.ascend.mesh import Ping
from provision.actions import Call, On
from provision.checks import serving
from provision.checks.base import CheckArgs, Finding, Shown, TrialRun
from provision.checks.interface import address_of
from provision.checks.support import Skip, listed
from provision.diagnose.mesh import Cause, causes, ends
from provision.errors import RemoteError, Unreachable
from provision.facts.base import Fact
from provision.facts.reading import decimal, integer
from provision.findings import Cell, CellState, Matrix
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.results import ActionResult, Result
from provision.shell import join, quote

CODE = "X07"
LEVEL = "fail"
SCOPE = "trial"

_NO_TOOL = "no tool"
"""What the shell's programs say."""


class Args(CheckArgs):
    """How much, how patiently, and what is slow."""

    ports: int = Field(
        2, ge=1, le=16, description="ports that the system chooses on each node, beside the planned ones"
    )
    seconds: float = Field(3.0, ge=1, le=30, description="seconds that a connection may take")
    samples: int = Field(5, ge=1, le=50, description="connections of which the fastest is a pair's latency")
    factor: float = Field(5.0, gt=1, description="times the median latency above which a pair is slow")
    least: float = Field(0.5, gt=0, description="milliseconds above the median that a slow pair also has")


@dataclass(frozen=True, slots=True)
class _Host:
    """One node's listeners, which greet with ``word`` unless ``mute``. ``trouble``: why there are none."""

    node: str
    address: str
    word: str
    planned: Mapping[int, str] = field(default_factory=dict)
    """Ports of the launch by number, with what they are for."""
    open: tuple[int, ...] = ()
    pids: tuple[int, ...] = ()
    mute: bool = False
    trouble: str = ""
    comers: Mapping[str, serving.Talk] = field(default_factory=dict)
    """Who connects to it, and on which ports."""

    @property
    def target(self) -> str:
        """As tcp_connect wants it, behind a name."""
        return f"{'' if self.mute else self.word}={self.address}={','.join(map(str, self.open))}"


@dataclass(slots=True)
class _Seen:
    """By source and target: outcomes by port, milliseconds. ``unable``: who could not try."""

    outcomes: dict[tuple[str, str], dict[int, str]] = field(default_factory=dict)
    latency: dict[tuple[str, str], float] = field(default_factory=dict)
    unable: dict[str, str] = field(default_factory=dict)

    def of(self, source: str, target: str) -> dict[int, str]:
        """Outcomes by port."""
        return self.outcomes.get((source, target), {})


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return serving.facts(settings)


def run(args: Args, cluster: Cluster) -> TrialRun:
    if len(cluster.nodes) == 1:
        raise Skip("there is one node only")
    hosts = _hosts(cluster)
    try:
        answers = yield On({name: _listen(args, host) for name, host in hosts.items()})
        hosts = {name: _listening(host, answers[name]) for name, host in hosts.items()}
        tried = yield On({name: _connect(args, name, hosts) for name in hosts if _others(name, hosts)})
    finally:
        ended = yield On({name: _end(host) for name, host in hosts.items() if host.pids})
    return list(_told(args, hosts, _needed(hosts, _seen(list(hosts), tried)), ended))


def _hosts(cluster: Cluster) -> dict[str, _Host]:
    """Raises ``Skip`` where fewer than two nodes have an address, or none connects to another."""
    ports, talks = _planned(cluster), serving.talking(cluster)
    addresses = {node.name: address_of(node) for node in cluster.nodes}
    known = {name: address for name, address in addresses.items() if address}
    if len(known) < 2:
        raise Skip("no two nodes have an address for their ranks: the check interface says so")
    if not any(source in known and target in known for source, target in talks):
        raise Skip("nothing of the cluster connects from one node to another")
    comers = {name: {source: how for (source, target), how in talks.items() if target == name} for name in known}
    return {
        name: _Host(name, address, f"qnext-{place}-{secrets.token_hex(8)}", ports.get(name, {}), comers=comers[name])
        for place, (name, address) in enumerate(known.items())
    }


def _planned(cluster: Cluster) -> dict[str, dict[int, str]]:
    """The launch's ports by node; none where there is no plan, of which the check layout tells."""
    try:
        plan = serving.planned(cluster).plan
    except Skip:
        return {}
    found: dict[str, dict[int, str]] = {}
    for process in plan.processes:
        found.setdefault(process.node, {}).update({port: purpose for purpose, port in process.ports.items()})
    return found


# ---- on the nodes


def _listen(args: Args, host: _Host) -> Call:
    lifetime = 60 + 4 * round(args.seconds)
    words = (host.word, lifetime, host.address, args.ports, *sorted(host.planned))
    return _call(f"listen at {host.address}", _either("tcp_listen", words), 20.0)


def _connect(args: Args, name: str, hosts: Mapping[str, _Host]) -> Call:
    others = _others(name, hosts)
    places = {other: place for place, other in enumerate(hosts)}
    targets = [f"{places[host.node]}={host.target}" for host in others]
    script = _either("tcp_connect", (args.seconds, args.samples, *targets))
    return _call(f"connect to {len(others)} other nodes", script, 30.0 + 4 * args.seconds)


def _others(name: str, hosts: Mapping[str, _Host]) -> list[_Host]:
    return [host for host in hosts.values() if name in host.comers and host.open]


def _end(host: _Host) -> Call:
    """End the listeners that still are what we started. Says how many were there."""
    script = f"""\
n=0
for p in {join(host.pids)}; do
  tr '\\0' ' ' 2>/dev/null <"/proc/$p/cmdline" | grep -q {quote(host.word)} || continue
  n=$((n + 1)); kill "$p" 2>/dev/null
done
echo "ended $n"
"""
    return _call("end the listeners", script, 20.0)


def _either(program: str, words: Sequence[object]) -> str:
    """The program in Python where there is one, else what a shell can do."""
    folder = resources.shipped("templates") / "check"
    python = (folder / f"{program}.py").read_text(encoding="utf-8")
    shell = (folder / f"{program}.sh").read_text(encoding="utf-8")
    return f"""\
for p in python3 /usr/libexec/platform-python; do
  command -v "$p" >/dev/null && exec "$p" -c {quote(python)} {join(words)}
done
set -- {join(words)}
{shell}"""


def _call(label: str, script: str, deadline: float) -> Call:
    """A node that can't be talked to just now doesn't keep the others from being tried."""

    def do(node: Node) -> Result:
        try:
            return node.read(script, deadline=deadline, label=label)
        except (Unreachable, RemoteError) as error:
            return Result(label, 255, "", error.message)

    return Call(label=label, do=do, affects=frozenset())


def _listening(host: _Host, answer: ActionResult) -> _Host:
    lines = [line.split(None, 2) for line in answer.stdout.splitlines() if line.strip()]
    ports = tuple(int(words[1]) for words in lines if words[0] in ("port", "random") and _number(words))
    pids = tuple(int(words[1]) for words in lines if words[0] == "pid" and _number(words))
    trouble = "" if ports else _trouble(answer, lines)
    return replace(host, open=ports, pids=pids, trouble=trouble, mute=["mute"] in lines)


def _number(words: Sequence[str]) -> bool:
    return len(words) > 1 and integer(words[1]) is not None


def _trouble(answer: ActionResult, lines: Sequence[Sequence[str]]) -> str:
    if _NO_TOOL in answer.stdout:
        return "it has neither python3, nor nc or socat"
    cannot = next((words[2] for words in lines if words[0] == "cannot" and len(words) > 2), "")
    return cannot or answer.tail(1) or f"exit status {answer.exit}"


def _seen(names: Sequence[str], tried: Mapping[str, ActionResult]) -> _Seen:
    """What the nodes said of their connections; they name others by their place among ``names``."""
    seen = _Seen()
    for source, answer in tried.items():
        before = len(seen.outcomes)  # pairs: a node that could try has some of its own
        for line in answer.stdout.splitlines():
            _hear(source, names, line.split(), seen)
        if len(seen.outcomes) == before:
            no_tool = "neither python3, nor bash or nc to connect with"
            seen.unable[source] = no_tool if _NO_TOOL in answer.stdout else answer.tail(1) or "it said nothing"
    return seen


def _hear(source: str, names: Sequence[str], words: Sequence[str], seen: _Seen) -> None:
    place = integer(words[0]) if len(words) == 3 else None
    if place is None or not 0 <= place < len(names):
        return
    port, time = integer(words[1]), decimal(words[2])
    if words[1] == "latency" and time is not None:
        seen.latency[source, names[place]] = time
    elif port is not None:
        seen.outcomes.setdefault((source, names[place]), {})[port] = words[2]


def _needed(hosts: Mapping[str, _Host], seen: _Seen) -> _Seen:
    """Without what a router's connections on other than planned ports have come to: it needs none."""
    for (source, target), outcomes in seen.outcomes.items():
        host = hosts[target]
        if host.comers.get(source) == "api" and (planned := {p: w for p, w in outcomes.items() if p in host.planned}):
            seen.outcomes[source, target] = planned
    return seen


# ---- what came of it


def _told(args: Args, hosts: Mapping[str, _Host], seen: _Seen, ended: Mapping[str, ActionResult]) -> Iterator[Shown]:
    yield _matrix(hosts, seen)
    yield from _untried(hosts, seen)
    vanished = [name for name, answer in ended.items() if answer.stdout.strip() == "ended 0"]
    yield from _blocked(hosts, seen, vanished)
    yield from _some_ports(hosts, seen)
    yield from _slow(args, seen)


def _matrix(hosts: Mapping[str, _Host], seen: _Seen) -> Matrix:
    names = tuple(hosts)
    cells = tuple(tuple(Cell("self") if a == b else _cell(hosts[b], seen, a) for b in names) for a in names)
    return Matrix("TCP between the hosts, time to connect", "ms", names, names, cells)


def _cell(target: _Host, seen: _Seen, source: str) -> Cell:
    outcomes = seen.of(source, target.node)
    if not outcomes:
        needless = "" if source in target.comers else "nothing of the cluster connects so"
        return Cell("untried", text=needless or target.trouble or seen.unable.get(source, ""))
    bad = {port: word for port, word in outcomes.items() if word != "ok"}
    state: CellState = "lost" if len(bad) == len(outcomes) else "partial" if bad else "ok"
    text = "; ".join(
        f"{word} on {_ports(target, [p for p, w in bad.items() if w == word])}" for word in set(bad.values())
    )
    return Cell(state, seen.latency.get((source, target.node)), text)


def _ports(host: _Host, ports: Iterable[int]) -> str:
    """Planned ports with what they are for; the others are any ports."""
    return ", ".join(f"{port} ({host.planned[port]})" if port in host.planned else f"{port}" for port in sorted(ports))


def _untried(hosts: Mapping[str, _Host], seen: _Seen) -> Iterator[Finding]:
    reasons: dict[str, list[str]] = {}
    for name, host in hosts.items():
        if host.trouble:
            reasons.setdefault(f"nothing could listen there: {host.trouble}", []).append(name)
    for name, why in seen.unable.items():
        if hosts[name].trouble:  # one reason is enough
            continue
        reasons.setdefault(f"nothing could connect from there: {why}", []).append(name)
    for reason, names in reasons.items():
        yield Finding(
            f"TCP of {listed(names, 8)} was not tried: {reason}",
            "install python3 (dnf install python3, apt-get install python3) on the node; for an address that cannot be "
            "assigned correct qnext.data_address",
            node=names[0],
            expected="connections to and from every node",
            observed="not tried",
            level="warn",
        )


def _blocked(hosts: Mapping[str, _Host], seen: _Seen, vanished: Sequence[str]) -> Iterator[Finding]:
    """Pairs of nodes between which nothing goes, by how it fails."""
    by_word: dict[str, list[Ping]] = {}
    tried = [Ping(a, 0, b, 0) for a, b in seen.outcomes]
    for ping in tried:
        words = set(seen.of(ping.source, ping.target).values())
        if "ok" not in words:
            by_word.setdefault(sorted(words)[0], []).append(ping)
    for word, bad in by_word.items():
        for cause in _joined(causes(tried, bad)):
            yield _finding(word, cause, hosts, vanished)


def _joined(found: Sequence[Cause]) -> Iterator[Cause]:
    """Both ways of two nodes are one cause."""
    ways = {(cause.node, cause.other): cause for cause in found if cause.kind == "pairs"}
    for cause in found:
        back = ways.get((cause.other, cause.node)) if cause.kind == "pairs" else None
        if back is None:
            yield cause
        elif cause.node < cause.other:
            yield replace(cause, kind="nodes", pings=(*cause.pings, *back.pings))


_WORDS = {
    "refused": "refused",
    "timeout": "not answered",
    "unreachable": "told to be unreachable",
    "forbidden": "forbidden by the node that asks",
    "reset": "reset",
    "silent": "taken by something that is not the node's listener",
    "stranger": "taken by another machine",
}
_OPEN = "all TCP between the nodes must be open, as ranks use any port"


def _finding(word: str, cause: Cause, hosts: Mapping[str, _Host], vanished: Sequence[str]) -> Finding:
    first = cause.pings[0]
    target = hosts[first.target]
    blamed = _blamed(cause)
    said = _WORDS.get(word, f"failing with {word}")
    example = f"{first.source} to {target.address} of {first.target}: {word}"
    more = f"; {len(cause.pings)} ways in all" if len(cause.pings) > 1 else ""
    return Finding(
        f"{_subject(cause)} {said}",
        _gone(first.target) if first.target in vanished and word == "refused" else _remedy(word, first, hosts, blamed),
        node=_culprit(cause),
        expected="a connection, greeted by the right node",
        observed=example + more,
    )


def _subject(cause: Cause) -> str:
    first = cause.pings[0]
    match cause.kind:
        case "all":
            names = list(dict.fromkeys(name for ping in cause.pings for name, _ in ends(ping)))
            return f"TCP connections between all nodes ({listed(names, 8)}) are"
        case "node" | "device":
            return f"TCP connections to and from {cause.node} are"
        case "hears":
            return f"TCP connections to {cause.node} are"
        case "sends":
            return f"TCP connections from {cause.node} are"
        case "nodes":
            return f"TCP connections between {cause.node} and {cause.other} are"
        case _:
            return f"TCP connections from {first.source} to {first.target} are"


def _culprit(cause: Cause) -> str:
    """Who refuses is the one that was asked."""
    return cause.pings[0].target if cause.kind in ("pairs", "way", "all") else cause.node


def _blamed(cause: Cause) -> str:
    """Whose firewall to look at: a filter that knows no connections also drops what comes back to its own node."""
    first = cause.pings[0]
    match cause.kind:
        case "all" | "nodes":
            return f"both {first.source} and {first.target}" if cause.kind == "nodes" else "every node"
        case "node" | "device" | "sends":
            return cause.node
        case _:
            return first.target


def _gone(node: str) -> str:
    return f"our listener on {node} was ended by something (`dmesg`, systemd-oomd on it may tell); try again"


def _remedy(word: str, ping: Ping, hosts: Mapping[str, _Host], blamed: str) -> str:
    source, target = hosts[ping.source].address, hosts[ping.target].address
    trust = f"`firewall-cmd --permanent --zone=trusted --add-source={source}; firewall-cmd --reload`"
    match word:
        case "refused":
            return f"a firewall rejects: on {blamed} `iptables -S; nft list ruleset`; {trust}; {_OPEN}"
        case "timeout":
            return (
                f"something drops the packets: a firewall of {blamed} (`iptables -S; nft list ruleset`; {trust}), "
                f"a security group, or another network: `ip route get {target}` on {ping.source}; {_OPEN}"
            )
        case "unreachable":
            return (
                f"no route, or firewalld, which rejects so: `ip route get {target}` on {ping.source}; on {blamed} "
                f"`firewall-cmd --list-all`, {trust}; or correct qnext.data_address"
            )
        case "forbidden":
            return f"a firewall of {ping.source} itself lets nothing out: `iptables -S OUTPUT` there; {_OPEN}"
        case "stranger":
            return (
                f"another machine has the address: `arping -D -c 2 {target}`, `ip neigh show {target}` on {ping.source}"
            )
        case "reset" | "silent":
            return (
                f"a firewall or proxy between them takes connections for {target}: `iptables -t nat -S` on both, "
                f"{ping.source} and {ping.target}; {_OPEN}"
            )
        case _:
            return f"`ip route get {target}` on {ping.source}, `iptables -S` on {ping.target}; {_OPEN}"


def _some_ports(hosts: Mapping[str, _Host], seen: _Seen) -> Iterator[Finding]:
    """Nodes that can be reached, but not on every port: one finding a node and what becomes of which ports."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for (source, target), outcomes in seen.outcomes.items():
        bad = {port: word for port, word in outcomes.items() if word != "ok"}
        if len(bad) < len(outcomes):
            for word in sorted(set(bad.values())):
                ports = tuple(sorted(port for port, own in bad.items() if own == word))
                groups.setdefault((target, word, ports), []).append(source)
    for (target, word, ports), sources in groups.items():
        host, any_port = hosts[target], not set(ports) & set(hosts[target].planned)
        what = "ports that are not of the launch plan" if any_port else f"port {_ports(host, ports)}"
        yield Finding(
            f"{what} of {target}: connections are {_WORDS.get(word, word)}, on others they are well",
            _remedy(word, Ping(sources[0], 0, target, 0), hosts, target),
            node=target,
            expected="a connection on every port",
            observed=f"{word} on {_ports(host, ports)} from {listed(sources, 8)}",
        )


def _slow(args: Args, seen: _Seen) -> Iterator[Finding]:
    """The pairs far above the others; three at least make a median that means something."""
    if len(seen.latency) < 3:
        return
    usual = median(seen.latency.values())
    limit = max(usual * args.factor, usual + args.least)
    slow = [Ping(a, 0, b, 0) for (a, b), time in seen.latency.items() if time > limit]
    for cause in _joined(causes([Ping(a, 0, b, 0) for a, b in seen.latency], slow)):
        worst = max(cause.pings, key=lambda ping: seen.latency[ping.source, ping.target])
        time = seen.latency[worst.source, worst.target]
        yield Finding(
            f"{_subject(cause)} slow: {time:.3g} ms, elsewhere {usual:.3g} ms",
            f"`ping -c 20`, `mtr` from {worst.source} to {worst.target}: another switch, a cable with errors "
            "(`ethtool -S`), a busy processor (governor), a way over a firewall",
            node=cause.node or worst.source,
            expected=f"at most {limit:.3g} ms",
            observed=f"{worst.source} to {worst.target}: {time:.3g} ms",
            code="X09",
            level="warn",
        )
