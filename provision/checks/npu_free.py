"""Nobody else uses the NPUs.

A device belongs to one container at a time; memory used by another process is missing for the weights. An idle die of
64 GB uses up to about 3.9 GB, so more than 6 % means that somebody is there [domain 1.4]. Our own running servers of
this cluster don't count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from provision.accel.ascend.npu_smi import Die, NpuProcess
from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, containers, numbered, selected, span
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.facts.npu_smi import Holder, NpuSmi
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N09"
LEVEL = "fail"
SCOPE = "node"
IDLE_SHARE = 0.06
"""Share of a die's memory that an idle one uses at most."""

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, Containers(settings.cluster)


@dataclass(frozen=True, slots=True)
class _User:
    """A process that npu-smi lists, with the devices it uses here."""

    process: NpuProcess
    devices: tuple[int, ...]
    holder: Holder | None


def run(node: Node) -> Iterable[Finding]:
    dies = {number: die for number, die in numbered(node).items() if number in selected(node)}
    there = containers(node)
    ours = [c for c in there.containers if c.running]
    others = [c for c in there.foreign if set(c.devices) & dies.keys()]
    users = list(_users(node, dies))
    yield from (_container(other, dies.keys() & set(other.devices)) for other in others)
    yield from (_process(user) for user in users if not _known(user, ours, others))
    told = {number for c in (*ours, *others) for number in c.devices} | {n for user in users for n in user.devices}
    yield from _memory({number: die for number, die in dies.items() if number not in told})


def _users(node: Node, dies: dict[int, Die]) -> Iterator[_User]:
    value = node.get(NpuSmi())
    places = {(die.npu, die.chip): number for number, die in dies.items()}
    holders = {holder.pid: holder for holder in value.holders}
    rows: dict[int, list[NpuProcess]] = {}
    for row in value.processes:
        if (row.npu, row.chip) in places:
            rows.setdefault(row.pid, []).append(row)
    for pid, own in rows.items():
        yield _User(own[0], tuple(sorted({places[row.npu, row.chip] for row in own})), holders.get(pid))


def _known(user: _User, ours: list[Container], others: list[Container]) -> bool:
    """Ours, or already told with its container. A process that can't be seen belongs to who has its devices."""
    if user.holder and user.holder.container:
        return any(c.id == user.holder.container for c in (*ours, *others))
    return user.holder is None and any(set(user.devices) & set(c.devices) for c in (*ours, *others))


def _container(other: Container, devices: Iterable[int]) -> Finding:
    cluster = f" of cluster {other.cluster}" if other.cluster else ""
    return Finding(
        f"container {other.name}{cluster} has davinci {span(devices)}",
        f"stop it if it may go (docker stop {other.name}), or give this cluster other devices: qnext.devices",
        expected="free",
        observed=f"{other.image}, since {other.started}",
    )


def _process(user: _User) -> Finding:
    holder = user.holder
    name = (holder.args[:60] if holder and holder.args else user.process.name) or "name not told"
    who = f" of {holder.user}" if holder and holder.user not in ("", "?") else ""
    where = f" in container {holder.container[:12]}" if holder and holder.container else ""
    memory = f", {user.process.memory_mb} MB" if user.process.memory_mb else ""
    memory += " on the first" if memory and len(user.devices) > 1 else ""
    return Finding(
        f"process {user.process.pid} ({name}){who}{where} uses davinci {span(user.devices)}{memory}",
        f"see `ps -fp {user.process.pid}` on the node; end it if it may go, or choose other devices: qnext.devices",
        expected="free",
        observed=f"pid {user.process.pid}",
    )


def _memory(dies: dict[int, Die]) -> Iterator[Finding]:
    used = {
        n: die for n, die in dies.items() if die.hbm_total_mb and (die.hbm_used_mb or 0) > IDLE_SHARE * die.hbm_total_mb
    }
    if not used:
        return
    most = max(used.values(), key=lambda die: die.hbm_used_mb or 0)
    yield Finding(
        f"davinci {span(used)}: memory is in use and no process is shown",
        "wait a minute after a stop; then look for other containers (docker ps) and at /proc/uda/namespace_node; "
        "what remains is the driver's, and a reboot frees it",
        expected=f"at most {IDLE_SHARE:.0%} used",
        observed=f"up to {most.hbm_used_mb} of {most.hbm_total_mb} MB",
    )
