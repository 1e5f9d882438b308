"""Every NPU reaches the NPUs of all other nodes over their own network.

Device i of each node pings device i of every other node (its rail, along which HCCL's rings go), and the first device
all devices of every other node, as experts are exchanged between any two. On A3 a ping goes over HCCS to the virtual
address where both nodes are in one super-pod, over RoCE elsewhere; on A2 over RoCE. Rails that don't reach each other
are legal on A2: i to another j warns only [domain 3.3]. A node's pings go one after the other, as the tool must not
run twice at a time, the nodes' at the same time and in an order in which no device is asked twice at once; the node
itself keeps the deadline, and where a call can't be ended there (a driver that hangs) the controller stops listening
a little later. What was lost is told by its cause: a dead device once, not once for each peer. A ping is
judged by its counts, never by the tool's words or exit status.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from pydantic import Field

from provision import clock
from provision.accel.ascend.mesh import Pairs, Ping, schedule
from provision.actions import Call, JobProgress, On
from provision.checks.base import CheckArgs, Finding, Level, Shown, TrialRun
from provision.checks.npu_link import hccn
from provision.checks.support import NPU_FACTS, CannotTell, Skip, alone, ascend, hanging, listed, selected, span
from provision.diagnose.mesh import Cause, causes, ends
from provision.errors import DeadlineExceeded, RemoteError, Unreachable
from provision.facts.base import Fact
from provision.facts.hccs import Hccs, HccsValue
from provision.facts.ping_sweep import SECONDS, Ask, Limits, Pinged, Sweep, Way, script
from provision.findings import Cell, CellState, Matrix, comparison
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.results import DEADLINE_EXIT, ActionResult, Result

CODE = "X06"
LEVEL = "fail"
SCOPE = "trial"

applies = ascend

Ill = Literal["lost", "partial", "slow"]

_TOOL = "hccn_tool"
_EVERY = 1.0
"""Seconds between two words of progress."""
_MARGIN = 20.0
"""Seconds after those that the node may take at most when nothing more is to come from it."""


class Args(CheckArgs):
    """Which pings, how patiently, and what is slow."""

    pairs: Literal["auto", "rails", "rails+first", "all"] = Field(
        "auto",
        description="rails: device i to device i; rails+first: also the first to all; all: each to all; auto: "
        "rails+first where that can end within the deadline, else rails, else as many rails as fit",
    )
    deadline: float = Field(300.0, ge=5, le=7200, description="seconds that a node may ping in all; kept on the node")
    call: float = Field(10.0, ge=1, le=60, description="seconds that one ping may take")
    packets: int = Field(3, ge=1, le=100, description="packets of a ping over HCCS; over RoCE the tool sends three")
    slow: float = Field(2.0, gt=0, description="milliseconds from which the median of a ping's packets is slow")
    give_up: int = Field(3, ge=1, le=100, description="lost pings after which a device or node is asked no more")


@dataclass(frozen=True, slots=True)
class _Plan:
    """``asks`` and ``pings`` of a node have the same order. ``unasked``: no address is known for them. ``rails``: on
    how many each pair of nodes is tried where the time allows a sample only; else 0."""

    pairs: Pairs
    pings: Mapping[str, Sequence[Ping]]
    asks: Mapping[str, Sequence[Ask]]
    unasked: frozenset[Ping]
    rails: int = 0

    def seconds(self, node: str) -> float:
        """What the node's pings take where all go well."""
        return sum(SECONDS[ask.way] for ask in self.asks[node])


@dataclass(slots=True)
class _Seen:
    """What became of the pings: in ``states`` all that were tried."""

    answers: dict[Ping, Pinged] = field(default_factory=dict)
    states: dict[Ping, CellState] = field(default_factory=dict)
    asks: dict[Ping, Ask] = field(default_factory=dict)
    left: dict[Ping, str] = field(default_factory=dict)
    """Those that were not tried, and why."""


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return () if alone(settings) else (*NPU_FACTS, hccn(settings))


def run(args: Args, cluster: Cluster) -> TrialRun:
    if len(cluster.nodes) == 1 or alone(cluster.settings):
        raise Skip("no ranks on several nodes")
    if not any(node.get(hccn(node.settings)).tool for node in cluster.nodes):
        raise Skip("hccn_tool is on no node: the check npu_link says so")
    stuck = [node.name for node in cluster.nodes if _is_mute(node)]
    if stuck and len(cluster.nodes) - len(stuck) < 2:
        raise Skip(f"hccn_tool hangs on {listed(stuck)}, so no two nodes can ping: the check npu_link says so")
    hccs = _super_pods(cluster)
    plan = _planned(args, cluster, hccs)
    results = yield On({node.name: _sweep(args, plan, node) for node in cluster.nodes if plan.asks.get(node.name)})
    return list(_told(args, cluster, plan, results, hccs))


# ---- who asks whom


def _super_pods(cluster: Cluster) -> Mapping[str, HccsValue]:
    """Asked only now: nobody else needs it, and it is a call a device."""
    if cluster.settings.hardware != "atlas-800-a3":
        return {}
    return cluster.each(lambda node: node.get(Hccs(hccn(node.settings).devices)))


def _planned(args: Args, cluster: Cluster, hccs: Mapping[str, HccsValue]) -> _Plan:
    wanted: tuple[Pairs, ...] = ("rails+first", "rails") if args.pairs == "auto" else (args.pairs,)
    plans = [_plan(pairs, args, cluster, hccs) for pairs in wanted]
    fitting = (plan for plan in plans if max(map(plan.seconds, plan.asks), default=0.0) <= args.deadline)
    return next(fitting, None) or (_sample(plans[-1], args) if args.pairs == "auto" else plans[-1])


def _sample(plan: _Plan, args: Args) -> _Plan:
    """The first rounds, in which every node asks every other: as many as fit."""
    others, worst = len(plan.pings) - 1, max(plan.asks, key=plan.seconds)
    each = plan.seconds(worst) / len(plan.asks[worst])
    rails = max(1, int(args.deadline * 0.9 / each / others))
    pings = {node: own[: rails * others] for node, own in plan.pings.items()}
    asks = {node: own[: rails * others] for node, own in plan.asks.items()}
    return _Plan(plan.pairs, pings, asks, plan.unasked, rails)


def _plan(pairs: Pairs, args: Args, cluster: Cluster, hccs: Mapping[str, HccsValue]) -> _Plan:
    devices = {node.name: _devices(node) for node in cluster.nodes}
    routes = _Routes(cluster, hccs)
    numbers = {node: place for place, node in enumerate(devices)}
    pings: dict[str, list[Ping]] = {}
    asks: dict[str, list[Ask]] = {}
    unasked: set[Ping] = set()
    for node, wanted in schedule(devices, pairs).items():
        pings[node], asks[node] = [], []
        for ping in wanted:
            way = routes.way(ping)
            if way is None:
                unasked.add(ping)
                continue
            pings[node].append(ping)
            asks[node].append(Ask(ping.device, *way, _groups(ping, numbers[ping.target])))
    return _Plan(pairs, pings, asks, frozenset(unasked))


def _devices(node: Node) -> tuple[int, ...]:
    """Those that are to be used; none on a node without driver or tool, of which other checks tell."""
    try:
        return selected(node) if node.get(hccn(node.settings)).tool and not _is_mute(node) else ()
    except (Skip, CannotTell):
        return ()


def _is_mute(node: Node) -> bool:
    """Whether hccn_tool gave no answer about any device: it would not about pings either."""
    devices = node.get(hccn(node.settings)).devices
    return bool(devices) and all(hanging(device.problems) for device in devices)


def _groups(ping: Ping, target: int) -> tuple[str, ...]:
    """What is given up together. Off the rails apart: these may be lost by design."""
    return (f"d{ping.device}", f"n{target}") if ping.on_rail else ("x", f"x{target}")


class _Routes:
    """How an NPU is reached from another node."""

    def __init__(self, cluster: Cluster, hccs: Mapping[str, HccsValue]) -> None:
        self._hccs = hccs
        self._roce = {
            (node.name, device.device): device.address
            for node in cluster.nodes
            for device in node.get(hccn(node.settings)).devices
        }

    def way(self, ping: Ping) -> tuple[Way, str] | None:
        """The tool's object and the address; None where the target has none."""
        vnic, roce = self._vnic(ping), self._roce.get((ping.target, ping.to))
        if vnic and (self._together(ping) or not roce):
            return "hccs_ping", vnic
        return ("ping", roce) if roce else None

    def _vnic(self, ping: Ping) -> str | None:
        """The virtual address, unless the nodes are known to be in different super-pods."""
        own, theirs = self._hccs.get(ping.source), self._hccs.get(ping.target)
        apart = own and theirs and None not in (own.pod, theirs.pod) and own.pod != theirs.pod
        return theirs.vnics.get(ping.to) if own and theirs and not apart else None

    def _together(self, ping: Ping) -> bool:
        own, theirs = self._hccs.get(ping.source), self._hccs.get(ping.target)
        return bool(own and theirs and own.pod is not None and own.pod == theirs.pod)


# ---- on the node


def _sweep(args: Args, plan: _Plan, node: Node) -> Call:
    asks, seconds = plan.asks[node.name], plan.seconds(node.name)
    limits = Limits(args.deadline, args.call, args.packets, args.give_up)
    text = script(asks, limits)
    said = f"{len(asks)} NPU pings, one after the other: about {_time(seconds)}, at most {_time(args.deadline)}"
    patience = args.deadline + args.call + _MARGIN
    return Call(label=said, do=lambda one: _ask(one, text, len(asks), said, patience), affects=frozenset())


def _ask(node: Node, text: str, count: int, said: str, patience: float) -> Result:
    """Run the script, tell of its progress, keep what it says. What came before a broken connection counts, or before
    ``patience`` seconds were over, which gives ``DEADLINE_EXIT``."""
    sweep, lines, trouble, status = Sweep(), list[str](), "", 0
    started = told = clock.monotonic()
    node.progress(JobProgress(0.0, said))
    try:
        for line in node.stream(text, deadline=patience):
            lines.append(line)
            if sweep.hear(line) and clock.monotonic() - told >= _EVERY:
                told = clock.monotonic()
                node.progress(_progress(sweep, count, told - started))
    except (Unreachable, RemoteError) as error:
        late = isinstance(error, DeadlineExceeded) and clock.monotonic() - started >= patience
        trouble, status = error.message, DEADLINE_EXIT if late else 1
    output = "\n".join(lines)
    node.keep("npu-pings.log", output + "\n")
    return Result(said, status, output, trouble, clock.monotonic() - started)


def _progress(sweep: Sweep, count: int, seconds: float) -> JobProgress:
    left = (count - sweep.done) * seconds / max(sweep.done, 1)
    lost = f", {sweep.lost} lost" if sweep.lost else ""
    return JobProgress(sweep.done / count, f"{sweep.done} of {count} NPU pings{lost}, about {_time(left)} left")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


# ---- what came of it


def _told(
    args: Args, cluster: Cluster, plan: _Plan, results: Mapping[str, ActionResult], hccs: Mapping[str, HccsValue]
) -> Iterator[Shown]:
    seen, broken, late = _Seen(), list[Finding](), dict[str, int]()
    for node, result in results.items():
        sweep = _heard(args, plan, node, result, seen)
        broken += _ended(args, plan, node, result, sweep)
        if sweep.ended == "over":
            late[node] = sweep.done
    for ping in plan.unasked:
        seen.left[ping] = "no address"
    pods = {name: str(value.pod) for name, value in hccs.items() if value.pod is not None}
    if pods:
        yield comparison("super pod", pods, "info")
    yield from _matrices(plan, [node.name for node in cluster.nodes], seen)
    yield from broken
    yield from _late(args, plan, late)
    yield from _sampled(args, plan)
    yield from _without_address(plan)
    for ill in ("lost", "partial", "slow"):
        yield from _ills(args, cluster, ill, seen)


def _heard(args: Args, plan: _Plan, node: str, result: ActionResult, seen: _Seen) -> Sweep:
    sweep = Sweep()
    for line in result.stdout.splitlines():
        sweep.hear(line)
    if result.exit in (0, DEADLINE_EXIT):  # where the connection broke, the last answer may be cut
        sweep.close()
    why = {"over": "no time was left", "hangs": "hccn_tool hung", "missing": "no hccn_tool"}.get(sweep.ended, "")
    stopped = {0: "it was not reached", DEADLINE_EXIT: "hccn_tool hung and could not be ended"}
    why = why or stopped.get(result.exit, "the connection broke")
    for number, (ping, ask) in enumerate(zip(plan.pings[node], plan.asks[node], strict=True)):
        seen.asks[ping] = ask
        if number in sweep.answers:
            seen.answers[ping] = sweep.answers[number]
            seen.states[ping] = _state(args, sweep.answers[number])
        else:
            seen.left[ping] = f"given up after {args.give_up} lost ones" if number in sweep.left else why
    return sweep


def _state(args: Args, answer: Pinged) -> CellState:
    ping = answer.ping
    if not ping or not answer.received:
        return "lost"
    if not ping.ok:
        return "partial"
    return "slow" if (_milliseconds(answer) or 0.0) >= args.slow else "ok"


def _milliseconds(answer: Pinged) -> float | None:
    """The median: the first packet also waits for the way to be looked up."""
    times = answer.ping.times_ms if answer.ping else ()
    return round(median(times), 4) if times else None


def _ended(args: Args, plan: _Plan, node: str, result: ActionResult, sweep: Sweep) -> Iterator[Finding]:
    count, done = len(plan.asks[node]), sweep.done
    untried = f"{count - done} of {count} pings from {node} were not tried"
    if result.exit == DEADLINE_EXIT:
        yield from _stuck(args, plan, node, untried, done)
    elif result.exit:
        yield Finding(
            f"the connection to {node} broke while its NPUs pinged: {untried}",
            "see whether the node is well, then run the check again: `qnext-provision check --only fabric`",
            node=node,
            expected="an answer to every ping",
            observed=result.stderr,
        )
    elif sweep.ended == "hangs":
        yield Finding(
            f"hccn_tool hangs on {node}: {untried}",
            f"run `{_TOOL} -i 0 -link -g` on the node by hand, never two of them at once; `dmesg` tells of the driver",
            node=node,
            expected=f"an answer within {args.call:.0f} s",
            observed="none, several times one after the other",
        )


def _stuck(args: Args, plan: _Plan, node: str, untried: str, done: int) -> Iterator[Finding]:
    """The node's own deadline did not end a call: it waits in the kernel, out of reach of signals, or ignores TERM."""
    asks = plan.asks[node]
    if done < len(asks):
        yield Finding(
            f"hccn_tool hangs on {node} and cannot be ended: {untried}",
            "`ps -eo pid,stat,etime,args | grep hccn_tool` on the node shows it: `kill -9` its pid; in state D not "
            "even that ends it, mostly only a restart of the node does (administrator); `dmesg` tells of the driver",
            node=node,
            expected=f"an answer, or an end after {args.call:.0f} s",
            observed=f"neither from `{_by_hand(asks[done])}`",
        )


def _late(args: Args, plan: _Plan, done: Mapping[str, int]) -> Iterator[Finding]:
    """The nodes whose time was over, in one finding."""
    if not done:
        return
    node = min(done, key=lambda name: done[name] / len(plan.asks[name]))
    count = len(plan.asks[node])
    untried = sum(len(plan.asks[name]) - number for name, number in done.items())
    enough = min(7200.0, args.deadline * count / max(done[node], 1) * 1.2)
    yield Finding(
        f"the time for NPU pings was over on {listed(list(done), 8)}: {untried} pings were not tried",
        f"more time (qnext.checks.fabric: {{deadline: {enough:.0f}}}) or fewer (qnext.checks.fabric: {{pairs: rails}})",
        node=node,
        expected=f"{count} pings within {args.deadline:.0f} s",
        observed=f"{done[node]} pings on {node}",
        level="warn",
    )


def _sampled(args: Args, plan: _Plan) -> Iterator[Finding]:
    if plan.rails:
        yield Finding(
            f"NPU pings are a sample: each pair of nodes was tried on {plan.rails} of its rails, as all would take "
            f"longer than {_time(args.deadline)}",
            "all of them: qnext.checks.fabric: {pairs: rails, deadline: 7200}",
            level="info",
        )


def _without_address(plan: _Plan) -> Iterator[Finding]:
    """A device that can't be asked by anybody, once a node."""
    absent: dict[str, set[int]] = {}
    for ping in plan.unasked:
        absent.setdefault(ping.target, set()).add(ping.to)
    for node, devices in sorted(absent.items()):
        first = min(devices)
        yield Finding(
            f"davinci {span(devices)} of {node} cannot be pinged: no address is known",
            f"{_TOOL} -i {first} -ip -g (RoCE), {_TOOL} -i {first} -vnic -g (A3) on {node} tell why; an administrator "
            f"sets one: {_TOOL} -i {first} -ip -s address A netmask M, and the same in /etc/hccn.conf",
            node=node,
            expected="an address in the NPUs' network",
            observed="none",
            level="warn",
        )


# ---- the cause


_DONE: Mapping[Ill, str] = {
    "lost": "reached",
    "partial": "reached without loss",
    "slow": "reached in time",
}
_LEVELS: Mapping[Ill, Level] = {"lost": "fail", "partial": "fail", "slow": "warn"}


def _ills(args: Args, cluster: Cluster, ill: Ill, seen: _Seen) -> Iterator[Finding]:
    bad = [ping for ping, state in seen.states.items() if state == ill]
    for cause in causes(seen.states, bad):
        yield _finding(args, ill, cause, seen, told=_has_no_link(cluster, cause, seen))


def _has_no_link(cluster: Cluster, cause: Cause, seen: _Seen) -> bool:
    """Whether a device is not reached because its link is down: the check npu_link tells that with its remedy."""
    if cause.kind != "device" or any(seen.asks[ping].way != "ping" for ping in cause.pings):
        return False
    node = next(node for node in cluster.nodes if node.name == cause.node)
    devices = node.get(hccn(node.settings)).devices
    return any(device.device == cause.device and device.link == "DOWN" for device in devices)


def _finding(args: Args, ill: Ill, cause: Cause, seen: _Seen, *, told: bool) -> Finding:
    """``told``: another check tells the cause, so here it is only for information."""
    text, remedy = _words(cause, ill, seen)
    level: Level = "info" if told else _LEVELS[ill]
    if not told and cause.kind == "across" and all(seen.asks[ping].way == "ping" for ping in cause.pings):
        level = "warn"
    return Finding(
        text,
        remedy,
        node=cause.node or cause.pings[0].source,
        expected=f"under {args.slow:g} ms" if ill == "slow" else "every packet comes back",
        observed=_observed(cause, seen),
        level=level,
    )


def _observed(cause: Cause, seen: _Seen) -> str:
    """The first of the pings, with its figures, and how many there are."""
    first = cause.pings[0]
    more = f"; {len(cause.pings)} pings in all" if len(cause.pings) > 1 else ""
    return (
        f"{_end(first.source, first.device)} to {_end(first.target, first.to)}: {_figures(seen.answers[first])}{more}"
    )


def _figures(answer: Pinged) -> str:
    ping = answer.ping
    if ping is None:
        return answer.said
    time = _milliseconds(answer)
    planes = f", L1 plane errors in {ping.plane_errors}" if ping.plane_errors else ""
    return f"{ping.received} of {ping.sent} packets" + (f", {time:g} ms" if time is not None else "") + planes


def _end(node: str, device: int) -> str:
    return f"{node} davinci {device}"


def _words(cause: Cause, ill: Ill, seen: _Seen) -> tuple[str, str]:
    """What is wrong, and what to do, by the kind of cause."""
    first, done, node, device, other = cause.pings[0], _DONE[ill], cause.node, cause.device, cause.other
    by_hand = f"`{_command(first, seen)}` on {first.source}"
    hccs = seen.asks[first].way == "hccs_ping"
    ways = listed([f"{p.device}" if p.on_rail else f"{p.device} to {p.to}" for p in cause.pings], 8)
    match cause.kind:
        case "all":
            return (
                f"no NPU is {done} from another node ({_nodes(cause)})",
                f"all nodes are concerned: {_network(hccs)}. Again: {by_hand}",
            )
        case "node":
            return (
                f"the NPUs of {node} and those of the other nodes: none is {done}",
                f"on {node}: {_network(hccs)}; it is the one node that has this. Again: {by_hand}",
            )
        case "rail" if other:
            return (
                f"davinci {device} of {node} and of {other}: neither is {done} from the other",
                f"either end or the way between, on {node} and {other}: {_device(device, hccs)}. Again: {by_hand}",
            )
        case "rail":
            return (
                f"davinci {device} is not {done} on any node (a rail)",
                f"most likely the switch of this rail: `{_TOOL} -i {device} -lldp -g` names its port on each node; "
                f"compare netmask and VLAN. Again: {by_hand}",
            )
        case "device":
            return (
                f"{_end(node, device)} is not {done} from any node, and no node from it",
                f"on {node}: {_device(device, hccs)}. Again: {by_hand}",
            )
        case "hears":
            return (
                f"{_end(node, device)} is not {done} from other nodes, the way back works",
                f"its address may be another's, or its way back be blocked: `{_TOOL} -i {device} -ip -g`, "
                f"`{_TOOL} -i {device} -route -g` on {node}. Again: {by_hand}",
            )
        case "sends":
            return (
                f"other nodes are not {done} from {_end(node, device)}, the way back works",
                f"on {node}: `{_TOOL} -i {device} -gateway -g`, `{_TOOL} -i {device} -route -g`, "
                f"`{_TOOL} -i {device} -stat -g`. Again: {by_hand}",
            )
        case "nodes":
            return (
                f"{node} and {other}: no NPU is {done} from the other node",
                f"both reach further nodes, so look at the way between them: {_network(hccs)}. Again: {by_hand}",
            )
        case "way":
            return (
                f"the NPUs of {other} are not {done} from {node}, the other way round works",
                f"compare routes and gateways of both: `{_TOOL} -i {first.device} -route -g`. Again: {by_hand}",
            )
        case "across":
            return (
                f"NPUs of different numbers on different nodes: {len(cause.pings)} are not {done}",
                "rails that are apart are legal, but expert parallelism needs any-to-any: ask the network's "
                f"administrator for routes between the rails. Again: {by_hand}",
            )
        case _:
            return (
                f"{other} is not {done} from {node} on davinci {ways}",
                f"the way between these NPUs: {_network(hccs)}. Again: {by_hand}",
            )


def _nodes(cause: Cause) -> str:
    return listed(list(dict.fromkeys(name for ping in cause.pings for name, _ in ends(ping))), 8)


def _command(ping: Ping, seen: _Seen) -> str:
    return _by_hand(seen.asks[ping])


def _by_hand(ask: Ask) -> str:
    return f"{_TOOL} -i {ask.device} -{ask.way} -g address {ask.address}"


def _device(device: int, hccs: bool) -> str:
    if hccs:
        return f"`{_TOOL} -i {device} -vnic -g`, `npu-smi info -t health`, `npu-smi info -t hccs` of its card"
    return (
        f"`{_TOOL} -i {device} -link -g`, -optical -g, -lldp -g, -link_stat -g tell of link, optics, switch port and "
        "flaps: cable, optics, port"
    )


def _network(hccs: bool) -> str:
    if hccs:
        return "cables and switches of the super-pod; `npu-smi info -t spod-info -i 0 -c 0` (same pod, different SDID)"
    return (
        f"`{_TOOL} -i 0 -ip -g`, -gateway -g, -route -g (addresses, netmask, gateway), -stat -g (errors, "
        "retransmissions); VLAN and uplinks of the switches"
    )


# ---- matrices


_WORST: tuple[CellState, ...] = ("lost", "partial", "slow", "untried", "ok")


def _matrices(plan: _Plan, nodes: Sequence[str], seen: _Seen) -> Iterator[Matrix]:
    by_pair: dict[tuple[str, str], list[Ping]] = {}
    for ping in (*seen.states, *seen.left):
        by_pair.setdefault((ping.source, ping.target), []).append(ping)
    rails = {pair: [ping for ping in pings if ping.on_rail] for pair, pings in by_pair.items()}
    across = {pair: [ping for ping in pings if not ping.on_rail] for pair, pings in by_pair.items()}
    yield _by_node("NPU pings by rail, the worst of each pair of nodes", nodes, rails, seen)
    if any(across.values()):
        what = "from the first NPU to all others" if plan.pairs == "rails+first" else "from every NPU to every other"
        yield _by_node(f"NPU pings {what}, the worst of each pair of nodes", nodes, across, seen)
    yield from _by_device(nodes, rails, seen)


def _by_node(title: str, nodes: Sequence[str], pings: Mapping[tuple[str, str], Sequence[Ping]], seen: _Seen) -> Matrix:
    cells = tuple(tuple(Cell("self") if a == b else _worst(pings.get((a, b), ()), seen) for b in nodes) for a in nodes)
    return Matrix(title, "ms", tuple(nodes), tuple(nodes), cells)


def _worst(pings: Sequence[Ping], seen: _Seen) -> Cell:
    """The worst state (lost: all of them, partial: some), the longest time in it, the devices that it is about."""
    if not pings:
        return Cell("untried", text="nothing to try")
    cells = {ping: _cell(ping, seen) for ping in pings}
    state = min((cell.state for cell in cells.values()), key=_WORST.index)
    own = [ping for ping, cell in cells.items() if cell.state == state]
    times = [cells[ping].value or 0.0 for ping in own if cells[ping].value is not None]
    text = "" if state == "ok" else f"davinci {span(ping.to for ping in own)}: {cells[own[0]].text}"
    some = state == "lost" and any(cell.state not in ("lost", "untried") for cell in cells.values())
    return Cell("partial" if some else state, max(times, default=None), text)


def _cell(ping: Ping, seen: _Seen) -> Cell:
    if ping in seen.left:
        return Cell("untried", text=seen.left[ping])
    answer = seen.answers[ping]
    return Cell(seen.states[ping], _milliseconds(answer), _figures(answer))


def _by_device(nodes: Sequence[str], rails: Mapping[tuple[str, str], Sequence[Ping]], seen: _Seen) -> Iterator[Matrix]:
    """The devices with a rail on which something is wrong, against all nodes."""
    cells = {(p.source, p.device, p.target): _cell(p, seen) for pings in rails.values() for p in pings}
    ill = {(node, device) for (node, device, _), cell in cells.items() if cell.state not in ("ok", "untried")}
    if not ill:
        return
    rows = [(node, device) for node in nodes for device in sorted(d for n, d in ill if n == node)]
    yield Matrix(
        "NPUs with trouble on their rail, to each node",
        "ms",
        tuple(f"{node}:{device}" for node, device in rows),
        tuple(nodes),
        tuple(
            tuple(
                Cell("self") if other == node else cells.get((node, device, other), Cell("untried", text="no such NPU"))
                for other in nodes
            )
            for node, device in rows
        ),
    )
