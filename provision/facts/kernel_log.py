"""What NPU drivers wrote into the kernel's log: lines that tell of an error, the last few hundred; and what the kernel
ended for lack of memory.

``dmesg``, with times of day where it can (``-T``); where it is refused, as it is in a container, the end of a log file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from provision.accel.ascend.kernel_log import PATTERN, KernelLine, parse_kernel_log
from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, decimal, section, sections
from provision.results import Result


class Dated(Protocol):
    """A line of the log: seconds since boot, or the wall clock as printed."""

    @property
    def seconds(self) -> float | None: ...

    @property
    def time(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class OomKill:
    """A process that the kernel ended for lack of memory. ``name`` is cut to 15 characters by the kernel. ``limit``: it
    was the limit of a container that was reached, not the machine's memory."""

    pid: int
    name: str
    limit: bool = False
    seconds: float | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True)
class KernelLogValue:
    """``source``: ``dmesg`` or the file that was read; None where neither could be. ``errors`` and ``kills`` oldest
    first.

    ``lines``: how many lines of NPU drivers were looked at; ``more``: that there are older ones, left out. ``now`` is
    the node's wall clock as it prints it, ISO 8601; ``uptime`` in seconds.
    """

    source: str | None = None
    errors: tuple[KernelLine, ...] = ()
    lines: int = 0
    more: bool = False
    kills: tuple[OomKill, ...] = ()
    now: str = ""
    uptime: float | None = None
    problems: tuple[str, ...] = ()

    def age(self, line: Dated) -> float | None:
        """Seconds since the line was written; None where that can't be told."""
        if line.seconds is not None:
            return None if self.uptime is None else max(0.0, self.uptime - line.seconds)
        now, then = _iso(self.now), _moment(line.time or "", self.now)
        return None if now is None or then is None else max(0.0, (now - then).total_seconds())


@dataclass(frozen=True, slots=True)
class KernelLog(Fact[KernelLogValue]):
    """The last ``lines`` lines of NPU drivers in the kernel's log."""

    name: ClassVar[str] = "kernel-log"
    deadline: ClassVar[float] = 20.0
    lines: int = 300

    def script(self) -> str:
        return f"""\
{{ read -r up _ </proc/uptime; }} 2>/dev/null; echo "@@ clock ${{up:-?}} $(date '+%Y-%m-%dT%H:%M:%S')"
npu() {{ tr -d '\\000' | grep -iE '{PATTERN}|Killed process|^@@ ' | tail -n {self.lines + 2} | cut -c 1-400; }}
log() {{ dmesg -T 2>/dev/null || dmesg 2>/dev/null; echo "@@ status $?"; }}
o=$(log | npu); echo '@@ dmesg'; printf '%s\\n' "$o"
case $o in *'@@ status 0') exit 0 ;; esac
echo '@@ refused'; dmesg 2>&1 | tail -n 1 | cut -c 1-200
for f in /var/log/messages /var/log/kern.log /var/log/syslog; do
  if [ -r "$f" ]; then echo "@@ file $f"; tail -n 20000 "$f" | npu; break; fi
done
:
"""

    def parse(self, raw: Result) -> KernelLogValue:
        parts = sections(raw.stdout)
        answered = any(part.words == ("status", "0") for part in parts)
        refused = () if answered else (f"dmesg gives nothing: {_why(section(raw.stdout, 'refused'))}",)
        file = next((part for part in parts if part.words[:1] == ("file",)), None)
        if not answered and file is None:
            return KernelLogValue(problems=complaints(raw) + refused)
        uptime, now = _clock(parts)
        body = section(raw.stdout, "dmesg") if answered or file is None else file.body
        source = "dmesg" if answered or file is None else " ".join(file.words[1:])
        lines = body.splitlines()
        read = parse_kernel_log("\n".join(lines[-self.lines :]))
        return KernelLogValue(
            source=source,
            errors=read.errors,
            lines=read.lines,
            more=len(lines) > self.lines,
            kills=tuple(_kills(lines)),
            now=now,
            uptime=uptime,
            problems=complaints(raw) + refused,
        )


def _clock(parts: Iterable[Section]) -> tuple[float | None, str]:
    words = next((part.words for part in parts if part.words[:1] == ("clock",)), ())
    return (decimal(words[1]), words[2]) if len(words) > 2 else (None, "")


_KILL = re.compile(r"\bKilled process ([0-9]{1,10}) \((.{1,32}?)\)[ ,]", re.ASCII)
_SECONDS = re.compile(r"\[ *([0-9]{1,10}\.[0-9]{6})\]", re.ASCII)
_STAMP = re.compile(
    r"\[?(?:[A-Z][a-z]{2} )?([A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{8}(?: [0-9]{4})?|"
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[-T ][0-9:]{8})",
    re.ASCII,
)


def _kills(lines: Iterable[str]) -> Iterable[OomKill]:
    for line in lines:
        if found := _KILL.search(line):
            seconds, stamp = _SECONDS.search(line), _STAMP.match(line)
            yield OomKill(
                pid=int(found[1]),
                name=found[2],
                limit="cgroup" in line,
                seconds=float(seconds[1]) if seconds else None,
                time=stamp[1] if stamp else None,
            )


def _moment(text: str, now: str) -> datetime | None:
    """``Sun Aug  2 03:36:43 2026``, ``Aug  2 03:36:43`` (of the year before ``now``, if need be) or ISO 8601."""
    found = _STAMP.match(text)
    if found is None:
        return None
    if found[1][0].isdigit():
        return _iso(f"{found[1][:10]}T{found[1][11:]}")
    words = found[1].split()
    if len(words) > 3:
        return _calendar(words)
    present = _iso(now)
    if present is None:
        return None
    this, last = (_calendar([*words, str(year)]) for year in (present.year, present.year - 1))
    return last if this is None or this > present else this


def _calendar(words: list[str]) -> datetime | None:
    month, day, time, year = words
    if month not in _MONTHS:
        return None
    return _iso(f"{year}-{_MONTHS.index(month) + 1:02}-{day:0>2}T{time}")


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _why(said: str) -> str:
    return said.strip() or "no answer"
