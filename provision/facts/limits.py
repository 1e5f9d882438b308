"""Resource limits: those of our own shell, and those that containers inherit.

A container's limits are Docker's ``default-ulimits`` where they are set, else those of the process that starts it: the
shim, a child of containerd where that is a service of its own, or of dockerd. All are read from /proc, because shells
differ in what their ``ulimit`` knows (dash has no ``-u``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Json, complaints, section
from provision.results import Result

UNLIMITED = -1
"""As Docker writes it."""

_NAMES = {
    "Max open files": "nofile",
    "Max locked memory": "memlock",
    "Max processes": "nproc",
    "Max stack size": "stack",
    "Max core file size": "core",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """``UNLIMITED`` (-1), or a number: of files or processes, of bytes for memory; None: it could not be told."""

    soft: int | None = None
    hard: int | None = None

    def allows(self, wanted: int) -> bool | None:
        """Whether the soft limit is ``wanted`` at least (``UNLIMITED``: nothing less). None: it could not be told."""
        if self.soft is None:
            return None
        return self.soft == UNLIMITED or (wanted != UNLIMITED and self.soft >= wanted)


@dataclass(frozen=True, slots=True)
class Rlimits:
    """Limits of one process. ``stack``, ``core`` and ``memlock`` in bytes."""

    nofile: Limit = Limit()
    memlock: Limit = Limit()
    nproc: Limit = Limit()
    stack: Limit = Limit()
    core: Limit = Limit()


@dataclass(frozen=True, slots=True)
class LimitsValue:
    """``shell``: of the user that commands run as. ``dockerd`` and ``containerd`` are None where they don't run, or
    can't be found (no pid file, no systemd). ``default_ulimits``: what /etc/docker/daemon.json sets for all containers,
    by docker's names (nofile, memlock)."""

    shell: Rlimits | None = None
    dockerd: Rlimits | None = None
    containerd: Rlimits | None = None
    default_ulimits: Mapping[str, Limit] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def container(self, name: str) -> Limit:
        """What a container gets for ``name`` (nofile, memlock, nproc, stack, core) unless its start says otherwise."""
        if name in self.default_ulimits:
            return self.default_ulimits[name]
        parent = self.containerd or self.dockerd or Rlimits()
        found: Limit = getattr(parent, name)
        return found


@dataclass(frozen=True, slots=True)
class Limits(Fact[LimitsValue]):
    """Resource limits of a shell and of containers."""

    name: ClassVar[str] = "limits"

    def script(self) -> str:
        return _LOOK

    def parse(self, raw: Result) -> LimitsValue:
        shell, dockerd, containerd = (_known(section(raw.stdout, word)) for word in ("shell", "dockerd", "containerd"))
        problems = complaints(raw) + (() if shell else ("/proc/self/limits could not be read",))
        return LimitsValue(shell, dockerd, containerd, _defaults(section(raw.stdout, "daemon.json")), problems)


# A pid file may outlive its process, so the name is compared. containerd has no pid file of its own; every process of
# its service has its limits. Passwords in URLs stay on the node.
_LOOK = """\
echo '@@ shell'; cat /proc/self/limits
for f in /run/docker.pid /var/run/docker.pid; do
  p= c=
  { read -r p <"$f"; } 2>/dev/null
  [ -n "$p" ] && { read -r c <"/proc/$p/comm"; } 2>/dev/null
  [ "$c" = dockerd ] && { echo '@@ dockerd'; cat "/proc/$p/limits"; break; }
done
for f in /run/docker/containerd/containerd.pid /sys/fs/cgroup/system.slice/containerd.service/cgroup.procs \
  /sys/fs/cgroup/systemd/system.slice/containerd.service/cgroup.procs; do
  p=
  { read -r p <"$f"; } 2>/dev/null
  [ -n "$p" ] && [ -r "/proc/$p/limits" ] && { echo '@@ containerd'; cat "/proc/$p/limits"; break; }
done
[ -r /etc/docker/daemon.json ] && { echo '@@ daemon.json'; sed 's#//[^@/"]*@#//#g' /etc/docker/daemon.json; }
:
"""


def parse_limits(text: str) -> Rlimits:
    """/proc/PID/limits. Never raises."""
    found: dict[str, Limit] = {}
    for line in text.splitlines():
        match = re.match(r"(Max [a-z ]+?) {2,}(\S+) +(\S+)(?: |$)", line)
        if match and match[1] in _NAMES:
            found.setdefault(_NAMES[match[1]], Limit(_amount(match[2]), _amount(match[3])))
    return Rlimits(**found)


def _known(text: str) -> Rlimits | None:
    found = parse_limits(text)
    return found if found != Rlimits() else None


def _amount(text: str) -> int | None:
    if text == "unlimited":
        return UNLIMITED
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None


def _defaults(text: str) -> dict[str, Limit]:
    """``"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}}``."""
    entries = Json.load(text).at("default-ulimits").entries
    return {name: Limit(said.at("Soft").number, said.at("Hard").number) for name, said in entries.items()}
