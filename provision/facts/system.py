"""The operating system under everything: distribution, kernel, CPU, memory, clock, who we are, since when it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, decimal, integer, pairs, section
from provision.results import Result

KUNPENG = {"0xd01": "TaiShan v110 (Kunpeng 920)", "0xd02": "TaiShan v120"}
"""Part numbers of implementer 0x48: Arm has no ``model name`` in /proc/cpuinfo [util-linux, lscpu-arm.c]."""

THP = "/sys/kernel/mm/transparent_hugepage"

TIME_SERVICES = {
    "/run/systemd/timesync": "systemd-timesyncd",
    "/run/chrony/chronyd.pid": "chronyd",
    "/run/chronyd.pid": "chronyd",
    "/run/ntpd.pid": "ntpd",
}
"""What tells a running time service without asking it: cheap, and no daemon is woken."""


@dataclass(frozen=True, slots=True)
class OsValue:
    """``id``, ``version`` and ``pretty`` as in os-release(5); ``arch`` as ``uname -m`` says (aarch64, x86_64)."""

    id: str = ""
    version: str = ""
    pretty: str = ""
    kernel: str = ""
    arch: str = ""
    hostname: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Os(Fact[OsValue]):
    """Distribution, kernel and architecture."""

    name: ClassVar[str] = "os"

    def script(self) -> str:
        return "uname -snrm; cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release"

    def parse(self, raw: Result) -> OsValue:
        first, _, rest = raw.stdout.partition("\n")
        words = first.split()
        _, hostname, kernel, arch = words if len(words) == 4 else ("", "", "", "")
        said = pairs(rest.splitlines())
        problems = complaints(raw)
        if not arch:
            problems += ("uname did not say what machine this is",)
        return OsValue(
            id=said.get("ID", ""),
            version=said.get("VERSION_ID", ""),
            pretty=said.get("PRETTY_NAME", ""),
            kernel=kernel,
            arch=arch,
            hostname=hostname,
            problems=problems,
        )


@dataclass(frozen=True, slots=True)
class CpuValue:
    """``count``: processors on line; ``load1``: mean length of the run queue over the last minute."""

    count: int | None = None
    model: str = ""
    load1: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cpu(Fact[CpuValue]):
    """Processors and load."""

    name: ClassVar[str] = "cpu"

    def script(self) -> str:
        return """\
echo "load=$(cat /proc/loadavg)"
echo "count=$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc)"
sed -n -e '/^model name/{s/[[:space:]]*:/=/p;q' -e '}' -e 's/^CPU implementer[[:space:]]*:/implementer=/p' \\
  -e '/^CPU part/{s/[[:space:]]*:/=/p;q' -e '}' /proc/cpuinfo
"""

    def parse(self, raw: Result) -> CpuValue:
        said = pairs(raw.stdout.splitlines())
        load = said.get("load", "").split()
        part = said.get("CPU part", "")
        model = said.get("model name") or (KUNPENG.get(part) if said.get("implementer") == "0x48" else None)
        count = integer(said.get("count", ""))
        return CpuValue(
            count=count,
            model=model or (f"Arm part {part}" if part else ""),
            load1=decimal(load[0]) if load else None,
            problems=complaints(raw) or (() if count else ("the number of processors is unknown",)),
        )


@dataclass(frozen=True, slots=True)
class MemoryValue:
    """Bytes. ``available`` is the kernel's own estimate of what a new program can have.

    ``hugepages_*`` are pages of ``hugepage_size``, reserved for programs that ask for them. ``shm_size`` and
    ``shm_used``: the host's /dev/shm, None where nothing is mounted there. ``thp`` and ``thp_defrag``: when the kernel
    makes transparent huge pages, and whether it stops a program to make room for one (always, defer, defer+madvise,
    madvise, never); empty where the kernel has none.
    """

    total: int | None = None
    available: int | None = None
    swap_total: int | None = None
    swap_free: int | None = None
    hugepages_total: int = 0
    hugepages_free: int = 0
    hugepage_size: int = 0
    shm_size: int | None = None
    shm_used: int | None = None
    thp: str = ""
    thp_defrag: str = ""
    problems: tuple[str, ...] = ()

    @property
    def swap_used(self) -> int | None:
        """Bytes in swap."""
        return None if self.swap_total is None or self.swap_free is None else self.swap_total - self.swap_free


@dataclass(frozen=True, slots=True)
class Memory(Fact[MemoryValue]):
    """Main memory, swap, huge pages, shared memory."""

    name: ClassVar[str] = "memory"

    def script(self) -> str:
        return f"""\
cat /proc/meminfo
grep -sH '' {THP}/enabled {THP}/defrag
echo '@@ shm'; df -P -k /dev/shm 2>/dev/null
:
"""

    def parse(self, raw: Result) -> MemoryValue:
        said = pairs(raw.stdout.splitlines(), ":")
        shm_size, shm_used = _shm(section(raw.stdout, "shm"))
        total = _size(said.get("MemTotal", ""))
        return MemoryValue(
            total=total,
            available=_size(said.get("MemAvailable", "")),
            swap_total=_size(said.get("SwapTotal", "")),
            swap_free=_size(said.get("SwapFree", "")),
            hugepages_total=_size(said.get("HugePages_Total", "")) or 0,
            hugepages_free=_size(said.get("HugePages_Free", "")) or 0,
            hugepage_size=_size(said.get("Hugepagesize", "")) or 0,
            shm_size=shm_size,
            shm_used=shm_used,
            thp=_chosen(said.get(f"{THP}/enabled", "")),
            thp_defrag=_chosen(said.get(f"{THP}/defrag", "")),
            problems=complaints(raw) or (() if total else ("/proc/meminfo has no MemTotal",)),
        )


def _size(text: str) -> int | None:
    """``16384 kB`` in bytes; a bare number as it is."""
    number, _, unit = text.partition(" ")
    value = integer(number)
    return value * 1024 if value is not None and unit == "kB" else value


def _shm(text: str) -> tuple[int | None, int | None]:
    """Size and used of /dev/shm by ``df -P -k``; None where the line is of another mount."""
    words = text.splitlines()[-1].split() if text else []
    if len(words) != 6 or words[5] != "/dev/shm":
        return None, None
    return _size(f"{words[1]} kB"), _size(f"{words[2]} kB")


def _chosen(text: str) -> str:
    """``madvise`` of ``always [madvise] never``."""
    return text.partition("[")[2].partition("]")[0]


@dataclass(frozen=True, slots=True)
class ClockValue:
    """``epoch``: seconds since 1970 on the node at the moment of the probe.

    ``when``: between which two moments of this machine's clock that was, where it is known. ``synchronized`` is None
    where it can't be told without asking a daemon; ``service`` names a time service that runs.
    """

    epoch: float | None = None
    timezone: str = ""
    utc_offset: str = ""
    synchronized: bool | None = None
    service: str = ""
    when: tuple[float, float] | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clock(Fact[ClockValue]):
    """Time of day, zone and synchronisation."""

    name: ClassVar[str] = "clock"

    def script(self) -> str:
        services = " ".join(TIME_SERVICES)
        return f"""\
date '+%s.%N %z %Z'
for f in {services} /run/systemd/timesync/synchronized; do [ -e "$f" ] && echo "$f"; done
readlink /etc/localtime
:"""

    def parse(self, raw: Result) -> ClockValue:
        first, _, rest = raw.stdout.partition("\n")
        words = [*first.split(), "", "", ""]
        lines = rest.splitlines()
        # busybox knows no %N and leaves it empty or as it is: then the second began at most one before
        fine = decimal(words[0])
        epoch = fine or decimal(words[0].partition(".")[0])
        when = raw.when if fine or raw.when is None else (raw.when[0] - 1, raw.when[1])
        zone = next((line.partition("zoneinfo/")[2] for line in lines if "zoneinfo/" in line), "")
        return ClockValue(
            epoch=epoch,
            timezone=zone or words[2],
            utc_offset=words[1],
            synchronized=True if "/run/systemd/timesync/synchronized" in lines else None,
            service=next((TIME_SERVICES[line] for line in lines if line in TIME_SERVICES), ""),
            when=when,
            problems=complaints(raw) or (() if epoch is not None else ("date did not tell the time",)),
        )


@dataclass(frozen=True, slots=True)
class IdentityValue:
    """Who probes run as; ``login`` is who logged in, where sudo stands between."""

    uid: int | None = None
    user: str = ""
    groups: tuple[str, ...] = ()
    login: str = ""
    root: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity(Fact[IdentityValue]):
    """The user that commands run as."""

    name: ClassVar[str] = "identity"

    def script(self) -> str:
        return 'echo "uid=$(id -u)"; echo "user=$(id -un)"; echo "groups=$(id -Gn)"; echo "login=${SUDO_USER:-}"'

    def parse(self, raw: Result) -> IdentityValue:
        said = pairs(raw.stdout.splitlines())
        uid = integer(said.get("uid", ""))
        user = said.get("user", "")
        return IdentityValue(
            uid=uid,
            user=user,
            groups=tuple(said.get("groups", "").split()),
            login=said.get("login") or user,
            root=uid == 0,
            problems=complaints(raw) or (() if uid is not None else ("id did not say who we are",)),
        )


@dataclass(frozen=True, slots=True)
class BootValue:
    """``boot_id`` changes with every boot; ``uptime`` in seconds."""

    boot_id: str = ""
    uptime: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Boot(Fact[BootValue]):
    """Which boot this is and how long ago it was."""

    name: ClassVar[str] = "boot"

    def script(self) -> str:
        return "cat /proc/sys/kernel/random/boot_id /proc/uptime"

    def parse(self, raw: Result) -> BootValue:
        lines = [*raw.stdout.splitlines(), "", ""]
        uptime = lines[1].split()
        return BootValue(lines[0].strip(), decimal(uptime[0]) if uptime else None, complaints(raw))
