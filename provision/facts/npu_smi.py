"""``npu-smi info`` and ``npu-smi info -m`` of a node. The tool may hang: each call has its own deadline on the node."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.npu_smi import Die, MappedChip, NpuProcess, parse_info, parse_mapping
from provision.facts.base import Fact
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
    """A process that ``npu-smi`` lists, as the node knows it. ``container`` is the id of its container, or empty."""

    pid: int
    user: str = ""
    args: str = ""
    container: str = ""


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
            FIND
            + f'o=$(timeout {_INFO_SECONDS} "$b" info 2>&1); e=$?\n'
            + """\
echo "@@ info $e"; printf '%s\\n' "$o"
printf '%s\\n' "$o" | sed -n 's/^| *[0-9][0-9 ]*| *\\([0-9][0-9]*\\) *|.*/\\1/p' | sort -u | while read -r p; do
  [ -d "/proc/$p" ] || continue
  echo "@@ pid $p"; ps -o user= -p "$p" 2>/dev/null || echo '?'
  tr '\\0' ' ' <"/proc/$p/cmdline"; echo
  cat "/proc/$p/cgroup"
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
            holders=tuple(_holder(part) for part in parts if part.words[:1] == ("pid",)),
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
    if status == "124" or raw.timed_out:
        return (*complaints(raw), f"npu-smi hangs: no answer within {seconds} s")
    ended = (f"npu-smi ended with exit status {status}",) if status != "0" else ()
    return (*complaints(raw), *ended, *found)


def _holder(part: Section) -> Holder:
    """Lines: user, command line, cgroups; a container's id is the 64 hexadecimal digits in its cgroup."""
    lines = [*part.lines, "", ""]
    container = re.search(r"[0-9a-f]{64}", "\n".join(lines[2:]))
    return Holder(
        pid=integer(" ".join(part.words[1:])) or 0,
        user=lines[0].strip(),
        args=lines[1].strip(),
        container=container[0] if container else "",
    )


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
