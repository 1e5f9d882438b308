"""All ranks that work together can add up tensors, and the sums are right.

Pings and ports prove single connections; a server lives on collective operations over all of them. So every device of
every node becomes a rank (on cpu: every node) in a container made as the launch scripts make theirs, the ranks meet at
the first node's data address, and ``torch.distributed`` reduces tensors of several sizes, with HCCL on NPUs and Gloo
on cpu. Every rank proves its sums; the speed is told as bus bandwidth, 2 (n-1)/n of the bytes over the time, which does
not depend on the number of ranks [NCCL tests, PERFORMANCE.md]. A threshold is the operator's to set: none is assumed.
Groups that do not work together are tried beside each other, each over its own nodes.

Left out while servers of the cluster run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from pydantic import Field

from provision import resources
from provision.actions import On, Run
from provision.checks import inside, serving
from provision.checks.base import CheckArgs, Finding, Shown, TrialRun
from provision.checks.support import Skip, listed
from provision.diagnose.diagnosis import ProcessLog
from provision.diagnose.first_cause import first_cause
from provision.facts.base import Fact
from provision.facts.network import Ports
from provision.findings import Measure
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.results import ActionResult, Result
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process

CODE = "X17"
LEVEL = "fail"
SCOPE = "trial"
DEEP = True

FIRST_PORT = 29600
"""Where the search for a free port begins: above those that vLLM uses for the same purpose (29500, 29501, 29550)."""

CONNECT_TIMEOUT = "120"
"""``HCCL_CONNECT_TIMEOUT``, the least that is legal: all containers start at the same time [domain 3.5]."""

_LAUNCH = """\
trap 'exit 3' USR1
i=0 pids=
while [ $i -lt "$LOCAL_WORLD_SIZE" ]; do
  { RANK=$((FIRST_RANK + i)) LOCAL_RANK=$i python3 -c "$0" "$@" || kill -USR1 $$; } &
  pids="$pids $!" i=$((i + 1))
done
for pid in $pids; do wait "$pid"; done
"""
"""A rank that fails ends all of its node: the others would wait for it."""


class Args(CheckArgs):
    """What is reduced, how patiently, and what is enough."""

    sizes: list[float] = Field([1.0, 16.0, 128.0], min_length=1, description="MB of each tensor, in this order")
    seconds: float = Field(180.0, ge=5, le=3600, description="seconds that all of it may take")
    bandwidth: float | None = Field(
        None,
        gt=0,
        description="GB/s of bus bandwidth that the last size measured must reach; default: none is asked for",
    )


@dataclass(frozen=True, slots=True)
class _Group:
    """The ranks: ``local`` on each node, in the order of the nodes. ``name`` tells it from others, where there are."""

    made: Launch
    places: Sequence[tuple[Node, Process]]
    port: int
    name: str = ""

    @property
    def plan(self) -> LaunchPlan:
        return self.made.plan

    def local(self, process: Process) -> int:
        return max(1, len(process.devices))

    @property
    def world(self) -> int:
        return sum(self.local(process) for _, process in self.places)

    def first(self, node: Node) -> int:
        """The first rank of a node."""
        before = [p for other, p in self.places if other.index < node.index]
        return sum(self.local(process) for process in before)


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (*inside.facts(settings), Ports())


def run(args: Args, cluster: Cluster) -> TrialRun:
    groups = _groups(cluster)
    ranks = {node.name: _ranks(args, group, node, process) for group in groups for node, process in group.places}
    results = yield On(ranks)
    shown: list[Shown] = []
    for group in groups:
        own = {node.name: results[node.name] for node, _ in group.places}
        refused = [found for node, _ in group.places if (found := inside.not_started(node, own[node.name]))]
        shown += refused or [*_measures(args, group, own), *_troubles(args, group, own)]
    return shown


def _groups(cluster: Cluster) -> list[_Group]:
    """The ranks that work together. Raises ``Skip`` where they can't be had now."""
    made = serving.planned(cluster)
    worlds = serving.worlds(made.plan)
    groups = [_group(cluster, made, world, named=len(worlds) > 1) for world in worlds]
    groups = [group for group in groups if group.world > 1]
    if not groups:
        raise Skip("there is one rank only")
    places = [place for group in groups for place in group.places]
    reasons = {n.name: why for n, p in places if (why := inside.without_image(n) or inside.occupied(n, p.devices))}
    if reasons:
        raise Skip(inside.left_out(reasons))
    return groups


def _group(cluster: Cluster, made: Launch, world: Set[str], *, named: bool) -> _Group:
    nodes = [node for node in cluster.nodes if node.name in world]
    places = [(node, own) for node in nodes if (own := serving.of_node(made.plan, node))]
    name = f" on {listed([node.name for node in nodes])}" if named else ""
    return _Group(made, places, _free_port(nodes[0], made.plan), name)


def _free_port(head: Node, plan: LaunchPlan) -> int:
    planned = {port for process in plan.processes for port in process.ports.values()}
    taken = planned | {listener.port for listener in head.get(Ports()).listeners}
    return next(port for port in range(FIRST_PORT, 65536) if port not in taken)


def _ranks(args: Args, group: _Group, node: Node, process: Process) -> Run:
    backend = "hccl" if process.devices else "gloo"
    program = (resources.shipped("templates") / "check" / "all_reduce.py").read_text(encoding="utf-8")
    env = {
        "WORLD_SIZE": str(group.world),
        "FIRST_RANK": str(group.first(node)),
        "LOCAL_WORLD_SIZE": str(group.local(process)),
        "MASTER_ADDR": group.places[0][1].address or "127.0.0.1",
        "MASTER_PORT": str(group.port),
    }
    sizes = [f"{size:g}" for size in args.sizes]
    return inside.command(
        group.made,
        node,
        process,
        ("sh", "-c", _LAUNCH, program, backend, f"{args.seconds:.0f}", *sizes),
        name="collective",
        title="All-reduce over all nodes",
        seconds=args.seconds,
        env=env | ({"HCCL_CONNECT_TIMEOUT": CONNECT_TIMEOUT} if process.devices else {}),
    )


# ---- what came of it


def _measures(args: Args, group: _Group, results: Mapping[str, ActionResult]) -> Iterator[Shown]:
    measured = _measured(group, results)
    for megabytes, seconds in measured:
        bandwidth = _bandwidth(group.world, megabytes, seconds)
        name = f"all-reduce of {megabytes:g} MB{group.name}"
        yield Measure(name, round(bandwidth, 3), "GB/s", note=f"{group.world} ranks, {seconds * 1e3:.2f} ms each")
        if args.bandwidth and megabytes == measured[-1][0] and bandwidth < args.bandwidth:
            yield Finding(
                f"{name} over {group.world} ranks reaches {bandwidth:.2f} GB/s of bus bandwidth",
                "see the links (`check --only npu_link --only fabric`), other traffic, and HCCL_BUFFSIZE in serve.env",
                node=group.places[0][0].name,
                expected=f"{args.bandwidth:g} GB/s, as checks.collective.bandwidth says",
                observed=f"{bandwidth:.2f} GB/s",
            )


def _measured(group: _Group, results: Mapping[str, ActionResult]) -> list[tuple[float, float]]:
    """MB and seconds, as rank 0 tells them."""
    said = results[group.places[0][0].name].stdout
    return [(float(mb), float(s)) for mb, s in re.findall(r"^measured ([0-9.e+-]+) ([0-9.]+)$", said, re.MULTILINE)]


def _bandwidth(world: int, megabytes: float, seconds: float) -> float:
    """GB/s of bus bandwidth."""
    return megabytes / 1e3 / max(seconds, 1e-9) * 2 * (world - 1) / world


def _troubles(args: Args, group: _Group, results: Mapping[str, ActionResult]) -> Iterator[Finding]:
    bad = {name: result for name, result in results.items() if result.exit}
    if not bad:
        return
    wrong = {name: _wrong(result) for name, result in bad.items() if _wrong(result)}
    if wrong:
        yield from (_wrong_sum(name, line) for name, line in wrong.items())
    elif all(result.exit in inside.TIMED_OUT for result in bad.values()):
        yield _hangs(args, group, results)
    else:
        yield _failed(bad)


def _wrong(result: ActionResult) -> str:
    return next((line for line in result.stderr.splitlines() if line.startswith("wrong sum on rank ")), "")


def _wrong_sum(node: str, line: str) -> Finding:
    return Finding(
        f"an all-reduce gives a {line}",
        "compare driver, firmware and image of the nodes (`check --only same_driver --only same_image`); then leave "
        "nodes out of the inventory until the sums are right: the one that spoils them needs repair",
        node=node,
        expected="the sum of all ranks",
        observed=line,
    )


def _hangs(args: Args, group: _Group, results: Mapping[str, ActionResult]) -> Finding:
    missing = [node.name for node, process in group.places if not _joined(group, process, results[node.name])]
    head = group.places[0][1].address
    remedy = (
        f"TCP from {listed(missing)} to {head} on port {group.port} and back, and NPU to NPU: "
        "`qnext-provision check --only host_tcp --only fabric`"
    )
    where = f"ranks on {listed(missing)} never met the others" if missing else "all ranks met, then nothing came"
    return Finding(
        f"an all-reduce over {group.world} ranks has no end within {args.seconds:.0f} s: {where}",
        remedy if missing else "`qnext-provision check --only fabric --only npu_link`; " + inside.EVIDENCE,
        node=(missing or [group.places[-1][0].name])[0],
        expected="sums on all ranks",
        observed=where,
    )


def _joined(group: _Group, process: Process, result: ActionResult) -> bool:
    return len(re.findall(r"^joined \d+$", result.stdout, re.MULTILINE)) == group.local(process)


def _failed(bad: Mapping[str, ActionResult]) -> Finding:
    """The first cause among all nodes' words, as of a server that ended; the words bear no time, so the node that ended
    first comes first."""
    ended = sorted(bad.items(), key=lambda item: (item[1].exit in inside.TIMED_OUT, _seconds(item[1])))
    logs = [ProcessLog(name, "all-reduce", inside.said(result), result.exit) for name, result in ended]
    cause = first_cause(logs)
    culprit = cause.node if cause else logs[0].node
    last = inside.said(bad[culprit]).splitlines()[-1:]
    return Finding(
        f"an all-reduce fails: {cause.title if cause else ''.join(last) or 'no word'}",
        (cause.remedy if cause else "") or inside.EVIDENCE,
        node=culprit,
        expected="sums on all ranks",
        observed=(cause.line if cause and cause.line else "".join(last))[:200],
    )


def _seconds(result: ActionResult) -> float:
    return result.seconds if isinstance(result, Result) else 0.0
