"""Nobody else uses the NPUs.

A device belongs to one container at a time; memory used by another process is missing for the weights. An idle die uses
up to about 3.9 GB, whatever its size (one of 32 GB up to 2.9), so more than 6 % and more than that means that somebody
is there [domain 1.4; samples/npu FIELDS, Rows]. Our own running servers of this cluster don't count; another cluster of
this tool is named as such.

Each holder is told once, with all its dies: who it is, since when, and the command that would release them. That is for
its owner to run: this tool never ends what it didn't start. A container that may reach all devices (privileged) and
uses none, like a monitor, is no holder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from provision.accel.ascend.npu_smi import Die, NpuProcess
from provision.checks.base import CheckArgs, Finding
from provision.checks.support import (
    NPU_FACTS,
    ascend,
    containers,
    listed,
    named,
    numbered,
    selected,
    span_of_time,
    without,
)
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.facts.npu_smi import Holder, NpuSmi
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N09"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


class Args(CheckArgs):
    """When a die counts as used though nobody is shown."""

    idle_share: float = Field(0.06, ge=0, le=1, description="share of a die's memory that an idle one uses at most")
    idle_mb: int = Field(3900, ge=0, description="MB that an idle die may use though they are more than that share")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, Containers(settings.cluster)


@dataclass(frozen=True, slots=True)
class _User:
    """A process that npu-smi lists: the devices it uses here, the memory on each, and who it is on the node."""

    row: NpuProcess
    devices: tuple[int, ...]
    memory: tuple[int, ...]
    holder: Holder | None

    @property
    def container(self) -> str:
        return self.holder.container if self.holder else ""


def run(args: Args, node: Node) -> Iterable[Finding]:
    dies = {number: die for number, die in numbered(node).items() if number in selected(node)}
    there, users = containers(node), list(_users(node, dies))
    ours = [c for c in there.containers if c.running]
    others = [c for c in there.foreign if set(c.devices) & dies.keys() or any(u.container == c.id for u in users)]
    inside = {c.id: [user for user in users if _is_of(user, c, (*ours, *others))] for c in (*ours, *others)}
    loose = [user for user in users if not any(user in own for own in inside.values())]
    yield from _containers(node, others, inside, dies)
    yield from (_processes(node, group) for group in _jobs(loose))
    told = {n for c in (*ours, *others) for n in c.devices} | {n for user in users for n in user.devices}
    yield from _memory(args, node, {number: die for number, die in dies.items() if number not in told})
    yield from _unknown(node)


def _users(node: Node, dies: Mapping[int, Die]) -> Iterator[_User]:
    value = node.get(NpuSmi())
    places = {(die.npu, die.chip): number for number, die in dies.items()}
    holders = {holder.pid: holder for holder in value.holders}
    rows: dict[int, list[NpuProcess]] = {}
    for row in value.processes:
        if (row.npu, row.chip) in places:
            rows.setdefault(row.pid, []).append(row)
    for pid, own in rows.items():
        memory = tuple(row.memory_mb for row in own if row.memory_mb)
        yield _User(own[0], tuple(sorted({places[row.npu, row.chip] for row in own})), memory, holders.get(pid))


def _is_of(user: _User, container: Container, all_containers: Sequence[Container]) -> bool:
    """Whether the process runs in the container. One that can't be seen is the first's that has its devices."""
    if user.container:
        return user.container == container.id
    if user.holder is not None:
        return False
    return next((c for c in all_containers if set(user.devices) & set(c.devices)), None) is container


# ---- containers


def _containers(
    node: Node, others: Sequence[Container], inside: Mapping[str, Sequence[_User]], dies: Mapping[int, Die]
) -> Iterator[Finding]:
    """A finding for each cluster of this tool and for each other container."""
    clusters = {c.cluster for c in others if c.cluster}
    groups = [[c for c in others if c.cluster == cluster] for cluster in sorted(clusters)]
    for group in (*groups, *([c] for c in others if not c.cluster)):
        users = [user for c in group for user in inside[c.id]]
        devices = {n for c in group for n in c.devices if n in dies} | {n for user in users for n in user.devices}
        yield (
            _of_cluster(node, group, users, devices) if group[0].cluster else _container(node, group[0], users, devices)
        )


def _of_cluster(node: Node, group: Sequence[Container], users: Sequence[_User], devices: set[int]) -> Finding:
    cluster = group[0].cluster
    return Finding(
        f"cluster {cluster} of this tool has {named(node, devices)}: container {listed([c.name for c in group])}, "
        f"since {_minute(group[0].started)}{_use(users)}",
        f"ask its owner first; `qnext-provision down -i` with the inventory of cluster {cluster} would release "
        f"them, on all its nodes; or give this cluster others: {without(node, devices)}",
        expected="free",
        observed=f"{group[0].image}; " + _who(users),
    )


def _container(node: Node, container: Container, users: Sequence[_User], devices: set[int]) -> Finding:
    pod = f" of pod {container.pod}" if container.pod else ""
    release = (
        f"kubectl delete pod -n {container.pod.replace('/', ' ')}" if container.pod else f"docker stop {container.name}"
    )
    return Finding(
        f"container {container.name}{pod} has {named(node, devices)}: {container.image}, "
        f"since {_minute(container.started)}{_use(users)}",
        f"ask its owner first; `{release}` would release them; or give this cluster others: {without(node, devices)}",
        expected="free",
        observed=f"{container.name}, as {container.user or 'root'}; " + _who(users),
    )


def _minute(moment: str) -> str:
    """``2026-11-24 06:00`` of what docker writes."""
    found = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)[\d:.]*(Z?)", moment)
    return f"{found[1]} {found[2]}" + (" UTC" if found[3] else "") if found else moment or "an unknown time"


def _use(users: Sequence[_User]) -> str:
    if not users:
        return ", no process on them yet"
    return f"; pid {_name(users[0])}{_size(users[0])}" + (
        f" and {len(users) - 1} more processes" if len(users) > 1 else ""
    )


def _who(users: Sequence[_User]) -> str:
    return f"pid {listed([str(user.row.pid) for user in users], 8)}" if users else "no process on them"


# ---- processes


def _jobs(users: Iterable[_User]) -> Iterator[list[_User]]:
    """Processes that belong together: of one container, or of one user with like command lines."""
    jobs: dict[tuple[str, ...], list[_User]] = {}
    for user in users:
        holder = user.holder
        if holder is None:
            key: tuple[str, ...] = (str(user.row.pid),)
        elif holder.container:
            key = ("container", holder.container)
        else:
            key = (holder.user, holder.unit, holder.state, re.sub(r"[0-9]+", "#", holder.args)[:60] or user.row.name)
        jobs.setdefault(key, []).append(user)
    yield from jobs.values()


def _processes(node: Node, users: Sequence[_User]) -> Finding:
    devices = {n for user in users for n in user.devices}
    first, holder = users[0], users[0].holder
    many = f" and {len(users) - 1} more like it" if len(users) > 1 else ""
    where = f" in {holder.runtime or 'a'} container {holder.container[:12]}" if holder and holder.container else ""
    where += f" under {holder.unit}" if holder and holder.unit else ""
    return Finding(
        f"process {_name(first)}{many}{where} uses {named(node, devices)}{_size(first)}",
        f"{_release(users)}; or give this cluster others: {without(node, devices)}",
        expected="free",
        observed=_who(users) + (f", {holder.args[:200]}" if holder and holder.args else ""),
    )


def _name(user: _User) -> str:
    """``4242 (python3 train.py) of root``."""
    holder, row = user.holder, user.row
    name = (holder.args[:60] if holder and holder.args else row.name) or "name not told"
    who = f" of {holder.user}" if holder and holder.user not in ("", "?") else ""
    return f"{row.pid} ({name}){who}"


def _size(user: _User) -> str:
    """``, 2 h old, 59000 MB on each``."""
    holder = user.holder
    old = f", {span_of_time(holder.age)} old" if holder and holder.age is not None else ""
    memory = f", {max(user.memory)} MB" if user.memory else ""
    if len(user.memory) > 1:
        memory += " on each" if len(set(user.memory)) == 1 else " at most"
    dead = ", a zombie" if holder and holder.state == "Z" else ""
    return f"{old}{memory}{dead}"


def _release(users: Sequence[_User]) -> str:
    """What would free the dies. Only told, never done."""
    first, holder = users[0], users[0].holder
    pids = " ".join(str(user.row.pid) for user in users)
    if holder is None:
        inner = f" (pid {first.row.container_pid} in its container)" if first.row.container_pid else ""
        return (
            f"there is no /proc/{first.row.pid} on the node{inner}: it runs in another pid namespace or has ended; "
            "look for its container (docker ps, crictl ps, nerdctl ps, /proc/uda/namespace_node); where there is none, "
            "wait a minute: what then remains is the driver's, and a reboot frees it"
        )
    if holder.state == "Z":
        parent = f" (pid {holder.parent})" if holder.parent else ""
        look = f"`ps -fp {holder.parent or pids}`"
        return f"it has ended and cannot be killed: its parent{parent} must notice, or end: {look}"
    if holder.runtime == "kubernetes":
        return (
            f"ask its owner first: `crictl ps --id {holder.container[:12]}` names its pod, and `kubectl delete pod` "
            "would release them (what only stops the container has it started again)"
        )
    if holder.container:
        return f"ask its owner first; `{holder.release}` would release them"
    stuck = " (it waits inside the kernel: it may not end before a reboot)" if holder.state == "D" else ""
    again = f" ({holder.unit} may start it again: `systemctl status {holder.unit}`)" if holder.unit else ""
    return f"ask its owner first (`ps -fp {pids.replace(' ', ',')}`); `kill {pids}` would release them{stuck}{again}"


# ---- memory without an owner, owners that aren't told


def _memory(args: Args, node: Node, dies: Mapping[int, Die]) -> Iterator[Finding]:
    used = {
        number: die for number, die in dies.items() if die.hbm_total_mb and (die.hbm_used_mb or 0) > _idle(args, die)
    }
    if not used:
        return
    most = max(used.values(), key=lambda die: die.hbm_used_mb or 0)
    yield Finding(
        f"{named(node, used)}: memory is in use and no process is shown",
        "wait a minute after a stop; then look for other containers (docker ps) and at /proc/uda/namespace_node; "
        f"what remains is the driver's, and a reboot frees it; or go without: {without(node, used)}",
        expected=f"at most {_idle(args, most):.0f} MB used",
        observed=f"up to {most.hbm_used_mb} of {most.hbm_total_mb} MB",
    )


def _idle(args: Args, die: Die) -> float:
    """MB that the die uses at most while nobody does."""
    return max(args.idle_share * (die.hbm_total_mb or 0), args.idle_mb)


def _unknown(node: Node) -> Iterator[Finding]:
    """The process table is cut off or names not all cards: its silence proves nothing."""
    problems = [problem for problem in node.get(NpuSmi()).problems if "who uses" in problem]
    if problems:
        yield Finding(
            f"npu-smi does not tell all processes: {listed(problems, 2)}",
            "`npu-smi info` on the node: the process table at its end names every card, by its processes or as idle",
            expected="every card in the process table",
            observed=listed(problems, 8),
            level="warn",
        )
