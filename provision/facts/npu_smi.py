"""``npu-smi info`` and ``npu-smi info -m`` of a node, and who the processes are that hold dies.

The tool may hang: each call has its own deadline on the node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.npu_smi import Die, MappedChip, NpuProcess, parse_info, parse_mapping
from provision.facts.base import Fact
from provision.facts.processes import RUNS, age, masked, runs
from provision.facts.reading import Section, complaints, integer, sections
from provision.results import Result

_INFO_SECONDS = 30
_MAP_SECONDS = 10
"""What each call may take: ``info`` asks every die, ``info -m`` only the driver."""

FIND = """\
PATH=$PATH:/usr/local/bin:/usr/local/sbin
b=$(command -v npu-smi) || { echo '@@ missing'; exit 0; }
d=/usr/local/Ascend/driver/lib64
LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$d:$d/common:$d/driver; export LD_LIBRARY_PATH
echo "@@ binary $b"
"""
"""Shell that finds the tool as ``$b``. Without a login shell neither its folder nor the driver's libraries are set
(then it ends with status 127 and names a library)."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that ``npu-smi`` lists, as the node knows it.

    ``user`` is a name, or ``uid N`` where the node has none for it (a container's). ``args`` is the command line, up to
    4096 bytes, with the values of keys and passwords masked. ``container`` is the 64-digit id of its container, or
    empty; ``runtime`` is docker, podman, containerd or kubernetes, or empty; ``unit`` the systemd service it runs
    under, or empty. ``age`` in seconds; ``started`` in seconds since 1970, by the node's clock. ``state`` is its letter
    in /proc/PID/stat (Z: it has ended and waits for ``parent`` to notice; D: it waits inside the kernel).
    """

    pid: int
    user: str = ""
    args: str = ""
    container: str = ""
    age: int | None = None
    started: int | None = None
    runtime: str = ""
    unit: str = ""
    state: str = ""
    parent: int | None = None

    @property
    def release(self) -> str:
        """The command that would free its dies: of the container where there is one, else of the process alone.

        A service isn't stopped as a whole: others may run under it (a job under a scheduler's, a login's).
        """
        tool = {"podman": "podman", "containerd": "nerdctl", "kubernetes": "crictl"}.get(self.runtime, "docker")
        return f"{tool} stop {self.container[:12]}" if self.container else f"kill {self.pid}"


@dataclass(frozen=True, slots=True)
class NpuSmiValue:
    """``binary`` is where the tool was found, None where it's missing."""

    binary: str | None = None
    tool_version: str | None = None
    driver_version: str | None = None
    dies: tuple[Die, ...] = ()
    processes: tuple[NpuProcess, ...] = ()
    holders: tuple[Holder, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NpuSmi(Fact[NpuSmiValue]):
    """Health, memory and processes of every die."""

    name: ClassVar[str] = "npu-smi"
    deadline: ClassVar[float] = 40.0

    def script(self) -> str:
        return (
            RUNS
            + FIND
            + f'o=$(timeout {_INFO_SECONDS} "$b" info 2>&1); e=$?\n'
            + """\
echo "@@ info $e"; printf '%s\\n' "$o"
read -r up _ </proc/uptime; echo "@@ clock"; echo "up $up $(getconf CLK_TCK 2>/dev/null || echo 100) $(date +%s)"
printf '%s\\n' "$o" | sed -n 's/^| *[0-9][0-9 ]*| *\\([0-9][0-9]*\\) *|.*/\\1/p' | sort -u | while read -r p; do
  [ -d "/proc/$p" ] || continue
  echo "@@ pid $p"
  { stat -c '%U %u' "/proc/$p" || echo; tr '\\n' ' ' <"/proc/$p/stat"; echo
    tr '\\0\\n' '  ' <"/proc/$p/cmdline" | head -c 4096; echo; cat "/proc/$p/cgroup"; } 2>/dev/null
done
:
"""
        )

    def parse(self, raw: Result) -> NpuSmiValue:
        parts = sections(raw.stdout)
        answer = _answer(parts, "info")
        info = parse_info(answer.body)
        binary = _binary(parts)
        return NpuSmiValue(
            binary=binary,
            tool_version=info.tool_version,
            driver_version=info.driver_version,
            dies=info.dies,
            processes=info.processes,
            holders=_holders(parts),
            problems=_problems(raw, binary, answer, info.problems, _INFO_SECONDS),
        )


def _binary(parts: list[Section]) -> str | None:
    return next((" ".join(p.words[1:]) for p in parts if p.words[:1] == ("binary",)), None)


def _answer(parts: list[Section], what: str) -> Section:
    return next((p for p in parts if p.words[:1] == (what,)), Section((what, ""), ""))


def _problems(
    raw: Result, binary: str | None, answer: Section, found: tuple[str, ...], seconds: int
) -> tuple[str, ...]:
    """Without the tool, or with one that hangs, what its (absent) output lacks is no news."""
    if binary is None:
        return complaints(raw) or ("npu-smi was found neither in PATH nor in /usr/local/bin or /usr/local/sbin",)
    status = answer.words[1] if len(answer.words) > 1 else ""
    if status in ("124", "143") or raw.timed_out:  # 143: busybox's timeout
        return (*complaints(raw), f"npu-smi hangs: no answer within {seconds} s")
    ended = (f"npu-smi ended with exit status {status}",) if status != "0" else ()
    return (*complaints(raw), *ended, *found)


def _holders(parts: list[Section]) -> tuple[Holder, ...]:
    clock = " ".join(_answer(parts, "clock").lines[:1]).split()
    sessions = runs(parts)
    return tuple(_holder(part, clock, sessions) for part in parts if part.words[:1] == ("pid",))


def _holder(part: Section, clock: list[str], sessions: Mapping[str, str]) -> Holder:
    """Lines: user and its number, /proc/PID/stat, command line, cgroups. ``sessions``: ids of runs."""
    user, stat, args, *groups = [*part.lines, "", "", ""]
    told = stat.rpartition(") ")[2].split()
    seconds = age(clock, told)
    now = integer(clock[3]) if len(clock) > 3 else None
    group = "\n".join(groups)
    found = _CONTAINER.search(group)
    container = found[0] if found else sessions.get(told[3], "") if len(told) > 3 else ""
    unit = _UNIT.search(group)
    return Holder(
        pid=integer(" ".join(part.words[1:])) or 0,
        user=_user(user.split()),
        args=masked(args),
        container=container,
        age=seconds,
        started=None if now is None or seconds is None else now - seconds,
        runtime=next((name for word, name in _RUNTIMES.items() if word in group), "") if container else "",
        unit=unit[1] if unit and not container else "",
        state=told[0] if told else "",
        parent=integer(told[1]) if len(told) > 1 else None,
    )


_CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_UNIT = re.compile(r"/([\w@.\\:-]+\.service)(?:/|$)", re.MULTILINE)
_RUNTIMES = {
    "kubepods": "kubernetes",
    "libpod": "podman",
    "docker": "docker",
    "nerdctl": "containerd",
    "containerd": "containerd",
}
"""By what a cgroup's path holds. A pod's container may name its runtime too, so the pod comes first."""


def _user(words: Sequence[str]) -> str:
    """``stat`` calls a user that the node has no name for UNKNOWN."""
    if words[:1] == ["UNKNOWN"] and len(words) > 1:
        return f"uid {words[1]}"
    return words[0] if words else ""


@dataclass(frozen=True, slots=True)
class NpuSmiMappingValue:
    """``chips`` in the tool's order, management controllers left out."""

    binary: str | None = None
    chips: tuple[MappedChip, ...] = ()
    controllers: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NpuSmiMapping(Fact[NpuSmiMappingValue]):
    """Which card and chip is which device."""

    name: ClassVar[str] = "npu-smi-mapping"
    deadline: ClassVar[float] = 15.0

    def script(self) -> str:
        ask = f'o=$(timeout {_MAP_SECONDS} "$b" info -m 2>&1); e=$?; echo "@@ map $e"; printf \'%s\\n\' "$o"\n'
        return FIND + ask

    def parse(self, raw: Result) -> NpuSmiMappingValue:
        parts = sections(raw.stdout)
        answer = _answer(parts, "map")
        mapping = parse_mapping(answer.body)
        binary = _binary(parts)
        problems = _problems(raw, binary, answer, mapping.problems, _MAP_SECONDS)
        return NpuSmiMappingValue(binary, mapping.chips, mapping.controllers, problems)
