"""Server processes of vLLM and Ray on a node, in containers or not: what is left over, and what still runs.

Titles are set by setproctitle, so ``vllm serve`` alone misses engines and workers [domain.md section 11].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, decimal, integer, sections
from provision.results import Result

KINDS = {
    "vllm": re.compile(r"VLLM::|(^|[/ ])vllm serve(\s|$)|vllm\.entrypoints|\bEngineCore|multiprocessing\.\w+ .*vllm"),
    "ray": re.compile(r"^ray::|(^|/)raylet\b|(^|/)gcs_server\b"),
    "mooncake": re.compile(r"\bmooncake_master\b"),
    "proxy": re.compile(r"\bload_balance_proxy\w*\.py\b|\bhybrid_proxy_server\.py\b|(^|/)vllm-router\b"),
}
"""Command lines of servers and their children [domain.md section 11]."""


_SECRET = re.compile(r"(--?[\w-]*(?:api[-_]?key|token|password|passwd|secret)[= ])\S+", re.IGNORECASE)
"""Options whose value is a secret: ``--api-key X``, ``--hf-token=X``; not ``--tokenizer``."""


def masked(args: str) -> str:
    """A command line without the values of keys and passwords."""
    return _SECRET.sub(r"\1***", args.strip())


RUNS = """\
# Where docker stands for processes of ours, each is the first of a session.
for d in ${_er:+"$_er"/*/run/*}; do
  { read -r p x <"$d/server" && read -r i <"$d/id"; } 2>/dev/null && echo "@@ run $p $i"
done
"""
"""Shell that tells the sessions of servers which have no container [transport/engine.py, native.sh]."""


def runs(parts: Sequence[Section]) -> dict[str, str]:
    """Ids of runs by the number of their session, from what ``RUNS`` printed."""
    return {part.words[1]: part.words[2] for part in parts if part.words[:1] == ("run",) and len(part.words) == 3}


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process; ``age`` in seconds, ``started`` in seconds since 1970 by the node's clock. ``kind`` is vllm, ray,
    mooncake or proxy (a load balancer before servers). ``container`` is the id of its container, or of its
    run where servers are processes. In ``args`` the values
    of keys and passwords are masked."""

    pid: int
    parent: int | None = None
    user: str = ""
    age: int | None = None
    kind: str = ""
    args: str = ""
    container: str = ""
    started: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessesValue:
    """By pid."""

    processes: tuple[ServerProcess, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Processes(Fact[ProcessesValue]):
    """vLLM, Ray, Mooncake and proxy processes."""

    name: ClassVar[str] = "processes"

    def script(self) -> str:
        return _LOOK

    def parse(self, raw: Result) -> ProcessesValue:
        parts = sections(raw.stdout)
        found = [process for part in parts if (process := _process(part, runs(parts))) is not None]
        return ProcessesValue(tuple(sorted(found, key=lambda p: p.pid)), complaints(raw))


# One grep finds the candidates: ps is no part of coreutils, and a fork a process is too dear on a big host. The
# brackets keep grep from finding itself. Where servers run without docker, run folders tell which sessions are theirs.
_LOOK = (
    RUNS
    + """\
read -r up _ </proc/uptime; t=$(getconf CLK_TCK 2>/dev/null || echo 100); now=
for f in $(grep -l -E '[V]LLM::|[v]llm|[E]ngineCore|[r]ay::|[r]aylet|[g]cs_server|[m]ooncake|[_]proxy_' \
  /proc/[0-9]*/cmdline 2>/dev/null); do
  d=${f%/cmdline}
  [ -r "$f" ] || continue
  echo "@@ ${d#/proc/} $(stat -c %U "$d" 2>/dev/null || echo '?')"
  : "${now:=$(date +%s)}"
  echo "up $up $t $now"
  cat "$d/stat" 2>/dev/null || echo
  tr '\\0\\n' '  ' <"$f" 2>/dev/null; echo
  cat "$d/cgroup" 2>/dev/null
done
:
"""
)


def _process(part: Section, sessions: Mapping[str, str]) -> ServerProcess | None:
    """Lines: uptime and ticks a second, /proc/PID/stat, command line, cgroups. ``sessions``: ids of runs."""
    lines = [*part.lines, "", "", ""]
    pid = integer(part.words[0]) if part.words else None
    args = masked(lines[2])
    kind = next((name for name, pattern in KINDS.items() if pattern.search(args)), None)
    if pid is None or kind is None:
        return None
    stat = lines[1].rpartition(") ")[2].split()
    container = re.search(r"[0-9a-f]{64}", "\n".join(lines[3:]))
    clock = lines[0].split()
    seconds, now = age(clock, stat), integer(clock[3]) if len(clock) > 3 else None
    return ServerProcess(
        pid=pid,
        parent=integer(stat[1]) if len(stat) > 1 else None,
        user=" ".join(part.words[1:]),
        age=seconds,
        kind=kind,
        args=args,
        container=container[0] if container else sessions.get(stat[3], "") if len(stat) > 3 else "",
        started=now - seconds if now is not None and seconds is not None else None,
    )


def age(clock: list[str], stat: list[str]) -> int | None:
    """Seconds since a process began. ``clock``: ``up``, the uptime, ticks a second; ``stat``: /proc/PID/stat from its
    third field on, where the 22nd is the start, in ticks from boot [proc(5)]."""
    if len(clock) < 3 or len(stat) < 20:
        return None
    uptime, ticks, started = decimal(clock[1]), integer(clock[2]), integer(stat[19])
    if uptime is None or not ticks or started is None:
        return None
    return max(0, round(uptime - started / ticks))
