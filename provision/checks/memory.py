"""The node has main memory for the servers and for the weights' page cache.

Advised: the weights' size, on Ascend 64 GB at least [domain 14.2]. With less, loading is slow and the kernel may end a
process; our own running servers count as memory that is there. Pages in swap tell that memory was short already;
reserved huge pages are lost for everything that does not ask for them, and vLLM does not. The host's ``/dev/shm`` is
not the containers' (they have their own, ``qnext.install.shm_size``), but what fills it is memory too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from provision.checks.base import CheckArgs, Finding
from provision.checks.support import GIB, MIB, Skip, ascend, containers, look, size
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.model import ModelFolder
from provision.facts.system import Memory, MemoryValue
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N14"
LEVEL = "warn"
SCOPE = "node"


class Args(CheckArgs):
    """Sizes in GB (MB where the name says so), binary."""

    available_gb: float = Field(64, ge=0, description="GB of memory advised on Ascend, whatever the weights' size")
    weights_factor: float = Field(1.0, ge=0, description="memory advised for the weights, in times their size")
    swap_used_gb: float = Field(1, ge=0, description="GB in swap from which on it is told")
    shm_free_mb: float = Field(1024, ge=0, description="MB free in /dev/shm below which it is told")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Memory(), ModelFolder(settings.model.folder), Containers(settings.cluster)


def run(args: Args, node: Node) -> Iterable[Finding]:
    if any(c.running for c in containers(node).containers):
        raise Skip("our servers run and hold their memory")
    memory = look(node, Memory())
    yield from _available(args, node, memory)
    yield from _swap(args, memory)
    yield from _shm(args, memory)


def _available(args: Args, node: Node, memory: MemoryValue) -> Iterator[Finding]:
    weights = int(node.get(ModelFolder(node.settings.model.folder)).size * args.weights_factor)
    advised = max(int(args.available_gb * GIB), weights) if ascend(node.settings) else weights + GIB
    if memory.available is None or memory.available >= advised:
        return
    huge = memory.hugepages_total * memory.hugepage_size
    if huge and memory.available + huge >= advised:
        yield Finding(
            f"{size(memory.available)} of main memory are available, {size(advised)} are advised for these weights, "
            f"and {size(huge)} lie in {memory.hugepages_total} reserved huge pages, which vLLM does not use",
            "sysctl -w vm.nr_hugepages=0, and take vm.nr_hugepages out of /etc/sysctl.conf and /etc/sysctl.d "
            "(grep -r nr_hugepages /etc/sysctl.conf /etc/sysctl.d), if no other program needs them",
            expected=f"{size(advised)} or more",
            observed=size(memory.available),
        )
        return
    yield Finding(
        f"{size(memory.available)} of main memory are available, {size(advised)} are advised for these weights",
        "end other programs on the node (ps aux --sort -rss | head), or expect slow loading",
        expected=f"{size(advised)} or more",
        observed=size(memory.available),
    )


def _swap(args: Args, memory: MemoryValue) -> Iterator[Finding]:
    used = memory.swap_used or 0
    if used < max(args.swap_used_gb * GIB, 1):
        return
    yield Finding(
        f"{size(used)} of memory are in swap: servers stall when theirs is",
        "once memory is free again: swapoff -a && swapon -a; "
        "who has it: grep VmSwap /proc/[0-9]*/status | sort -k2 -n | tail",
        expected=f"less than {size(int(args.swap_used_gb * GIB))} in swap",
        observed=f"{size(used)} of {size(memory.swap_total or 0)}",
    )


def _shm(args: Args, memory: MemoryValue) -> Iterator[Finding]:
    if memory.shm_size is None or memory.shm_used is None:
        return
    free = memory.shm_size - memory.shm_used
    if free < args.shm_free_mb * MIB:
        yield Finding(
            f"/dev/shm of the host has {size(free)} free of {size(memory.shm_size)}",
            "ls -lS /dev/shm | head shows the largest; what no process maps (fuser -v FILE) is left over",
            expected=f"{size(int(args.shm_free_mb * MIB))} or more",
            observed=size(free),
        )
