"""Servers may open enough files and map enough memory.

A server of many ranks has thousands of sockets and files open; at 1024, the usual limit of a login, it ends with "Too
many open files" under load [domain 14.2]. What counts is what a container inherits: Docker's ``default-ulimits``, else
the limits of containerd or dockerd; where neither can be told, those of a login. ``vm.max_map_count`` bounds the mapped
areas of a process: the kernel's own 65530 is enough for most, so more is only advised. Locked memory matters where a KV
pool registers memory for RDMA.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from pydantic import Field

from provision.actions import Action
from provision.checks import undo
from provision.checks.base import CheckArgs, Finding
from provision.checks.support import MIB, look
from provision.facts.base import Fact
from provision.facts.limits import UNLIMITED, Limit, Limits, LimitsValue, Rlimits
from provision.facts.sysctl import Sysctl
from provision.inventory.model import Settings
from provision.node import Node
from provision.results import ActionResult

CODE = "N23"
LEVEL = "warn"
SCOPE = "node"

MAPS = "vm.max_map_count"
KERNEL_MAPS = 65530
"""The kernel's own default."""


class Args(CheckArgs):
    """Lowest limits."""

    nofile: int = Field(65535, ge=1, description="open files of a process [domain 14.2]")
    memlock_mb: float = Field(8, ge=0, description="MB of memory that a process may lock; systemd gives 8 since v251")
    max_map_count: int = Field(262144, ge=1, description="mapped areas of a process (vm.max_map_count) advised")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Limits(), Sysctl()


def run(args: Args, node: Node) -> Iterable[Finding]:
    yield from _limits(args, look(node, Limits()))
    maps = node.get(Sysctl()).number(MAPS)
    if maps is not None and maps < args.max_map_count:
        yield Finding(
            f"{MAPS} is {maps}: a process may have no more mapped areas",
            undo.kernel_remedy(MAPS, args.max_map_count),
            expected=f"{args.max_map_count} or more",
            observed=str(maps),
            level="warn" if maps < KERNEL_MAPS else "info",
            fix=undo.kernel_fix(MAPS, args.max_map_count),
        )


def fix(args: Args, node: Node, findings: tuple[Finding, ...]) -> Generator[Action, ActionResult, None]:
    """``vm.max_map_count``, until the next boot."""
    yield from undo.kernel_settings(node.settings, findings)


@dataclass(frozen=True, slots=True)
class _Given:
    """The limits of what is started, whose they are, and how they are raised: a format of ``name`` and ``value``."""

    limits: dict[str, Limit]
    whose: str
    raised: str


def _limits(args: Args, value: LimitsValue) -> Iterator[Finding]:
    given = _given(value)
    files, locked = given.limits["nofile"], given.limits["memlock"]
    if files.allows(args.nofile) is False:
        yield Finding(
            f"{given.whose} may open {files.soft} files",
            given.raised.format(name="nofile", value=args.nofile),
            expected=f"{args.nofile} or more",
            observed=str(files.soft),
        )
    wanted = int(args.memlock_mb * MIB)
    if locked.allows(wanted) is False:
        yield Finding(
            f"{given.whose} may lock {(locked.soft or 0) // 1024} kB of memory",
            given.raised.format(name="memlock", value=UNLIMITED),
            expected=f"{wanted // 1024} kB or more",
            observed=f"{(locked.soft or 0) // 1024} kB",
            level="info",
        )


def _given(value: LimitsValue) -> _Given:
    in_containers = {name: value.container(name) for name in ("nofile", "memlock")}
    if in_containers["nofile"].soft is not None:
        raised = (
            'put "default-ulimits": {{"{name}": {{"Name": "{name}", "Soft": {value}, "Hard": {value}}}}} into '
            "/etc/docker/daemon.json, then systemctl restart docker (which stops containers unless live-restore is on)"
        )
        return _Given(in_containers, "a process in a container", raised)
    shell = value.shell or Rlimits()
    raised = "put `* - {name} {value}` and `root - {name} {value}` into /etc/security/limits.conf, and log in anew"
    return _Given({"nofile": shell.nofile, "memlock": shell.memlock}, "a process of a login", raised)
