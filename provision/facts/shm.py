"""What lies in the host's /dev/shm: servers that were killed leave their shared memory and semaphores there.

With a file of its own a process may have mapped it, closed it, and still use it: the maps of all processes tell, and
what they have open. A container may have the host's /dev/shm under another path, so files are told by device and
inode. Looking through all that is dear on a node that serves, so it's done on demand (``mapped``), before something is
removed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, integer, section
from provision.results import Result

KINDS = {
    "python": re.compile(r"psm_\w+|(sem\.)?mp-\w+"),
    "semaphore": re.compile(r"sem\..+"),
    "vllm": re.compile(r"(?i)vllm.*"),
    "torch": re.compile(r"torch_\d+_.*|__KMP_REGISTERED_LIB_.*"),
    "collective": re.compile(r"(?i).*[nh]ccl.*"),
    "ray": re.compile(r"(ray|plasma)[_\d.-].*"),
}
"""By name of the file: Python's multiprocessing, semaphores, vLLM, PyTorch, HCCL [domain.md section 11]."""

SHOWN = 500


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A file or folder of /dev/shm. ``size`` in bytes, ``modified`` in seconds since 1970.

    ``kind``: whose it is by its name (``KINDS``), empty for others. ``mapped``: whether a process has it mapped or
    open; None where that wasn't looked at.
    """

    name: str
    kind: str = ""
    size: int | None = None
    user: str = ""
    modified: int | None = None
    mapped: bool | None = None


@dataclass(frozen=True, slots=True)
class SharedMemoryValue:
    """``files`` by name, at most ``SHOWN``; ``count`` is how many there are."""

    files: tuple[SharedFile, ...] = ()
    count: int = 0
    problems: tuple[str, ...] = ()

    @property
    def servers(self) -> tuple[SharedFile, ...]:
        """What servers of vLLM, PyTorch, Ray and Python make."""
        return tuple(file for file in self.files if file.kind)


@dataclass(frozen=True, slots=True)
class SharedMemory(Fact[SharedMemoryValue]):
    """Files in /dev/shm, with ``mapped`` also whether they are in use."""

    name: ClassVar[str] = "shared-memory"
    mapped: bool = False

    def script(self) -> str:
        return _LOOK + (f"echo '@@ used'\n[ $n -eq 0 ] || {IN_USE}" if self.mapped else "") + ":\n"

    def parse(self, raw: Result) -> SharedMemoryValue:
        used = section(raw.stdout, "used").split() if "@@ used" in raw.stdout.splitlines() else None
        rows = (_file(line, used) for line in section(raw.stdout, "files").splitlines())
        known = [file for file in rows if file is not None]
        return SharedMemoryValue(
            files=tuple(sorted(known, key=lambda file: file.name)),
            count=integer(section(raw.stdout, "count")) or len(known),
            problems=complaints(raw),
        )


_LOOK = f"""\
cd /dev/shm 2>/dev/null || exit 0
set -- * .[!.]*
n=0; for f; do [ -e "$f" ] && n=$((n + 1)); done
echo '@@ count'; echo $n
echo '@@ files'
[ $n -eq 0 ] || stat -c '%d:%i %s %Y %U %n' -- "$@" 2>/dev/null | head -n {SHOWN}
"""

IN_USE = """\
{
d=$(stat -c %d /dev/shm)
cat /proc/[0-9]*/maps 2>/dev/null |
  awk -v d="$d" -v m="$(printf '%02x:%02x' $((d >> 8 & 0xfff)) $((d & 0xff | d >> 12 & 0xfff00)))" '
    $4 == m && !seen[$5]++ { print d ":" $5 }'
for p in /proc/[0-9]*; do
  set -- "$p"/fd/*
  [ ! -L "$1" ] || stat -L -c %d:%i -- "$@" 2>/dev/null
done | grep "^$d:" | sort -u
}
"""
"""POSIX sh: ``device:inode``, as ``stat -c %d:%i`` says it, of each file of /dev/shm that a process has mapped or
open."""


def _file(line: str, used: Sequence[str] | None) -> SharedFile | None:
    """``device:inode size seconds user name``."""
    match = re.fullmatch(r"(\S+) ([0-9]{1,18}) ([0-9]{1,12}) (\S+) (.+)", line)
    if match is None:
        return None
    name = match[5]
    kind = next((kind for kind, pattern in KINDS.items() if pattern.fullmatch(name)), "")
    mapped = None if used is None else match[1] in used
    return SharedFile(name, kind, int(match[2]), match[4], int(match[3]), mapped)
