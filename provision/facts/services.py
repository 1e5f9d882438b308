"""Which services run that matter to a serving node.

Under systemd a service that runs has a control group: looking whether it is there wakes nobody and costs nothing. Where
groups lie elsewhere systemd is asked; where there is no systemd, the names of all processes are looked through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, integer, sections
from provision.results import Result

PROGRAMS = {
    "irqbalance": "irqbalance",
    "tuned": "tuned",
    "firewalld": "firewalld",
    "chronyd": "chronyd",
    "chrony": "chronyd",
    "ntpd": "ntpd",
    "ntp": "ntpd",
    "ntpsec": "ntpd",
    "systemd-timesyncd": "systemd-timesyn",
    "nscd": "nscd",
    "kubelet": "kubelet",
    "slurmd": "slurmd",
}
"""Services by their unit's name, and the name their process has (of which the kernel keeps 15 letters)."""


@dataclass(frozen=True, slots=True)
class ServicesValue:
    """``running``: by unit name, with a pid of the service where it could be told. ``manager`` says how that is known:
    cgroup, systemctl or processes; empty: nothing could be told."""

    running: Mapping[str, int | None] = field(default_factory=dict)
    manager: str = ""
    problems: tuple[str, ...] = ()

    def runs(self, *names: str) -> bool | None:
        """Whether one of ``names`` runs (a service has different names on different distributions). None: it could not
        be told."""
        return any(name in self.running for name in names) if self.manager else None


@dataclass(frozen=True, slots=True)
class Services(Fact[ServicesValue]):
    """Running services by name. ``names`` are units without ``.service``."""

    name: ClassVar[str] = "services"
    names: tuple[str, ...] = tuple(PROGRAMS)

    def script(self) -> str:
        names = " ".join(name for name in self.names if re.fullmatch(r"[A-Za-z0-9@_.-]+", name))
        programs = "|".join(dict.fromkeys(PROGRAMS.get(name, name[:15]) for name in names.split()))
        return _LOOK.format(names=names, programs=programs)

    def parse(self, raw: Result) -> ServicesValue:
        part = next(iter(sections(raw.stdout)), None)
        manager = " ".join(part.words) if part else ""
        lines = part.lines if part else []
        problems = complaints(raw)
        if manager == "processes":
            return ServicesValue(self._by_program(lines), manager, problems)
        if manager not in ("cgroup", "systemctl"):
            return ServicesValue(problems=problems or ("services could not be looked at",))
        rows = [line.split() for line in lines]
        found = {row[0]: integer(row[1]) if row[1:] else None for row in rows if row and row[0] in self.names}
        return ServicesValue(found, manager, problems)

    def _by_program(self, lines: list[str]) -> dict[str, int | None]:
        """``/proc/812/comm:chronyd``: every unit that this may be."""
        found: dict[str, int | None] = {}
        for line in lines:
            match = re.search(r"/proc/([0-9]{1,9})/comm:(.+)$", line)
            for name in self.names if match else ():
                if match and PROGRAMS.get(name, name[:15]) == match[2]:
                    found.setdefault(name, int(match[1]))
        return found


_LOOK = """\
c=
for d in /sys/fs/cgroup/system.slice /sys/fs/cgroup/systemd/system.slice /sys/fs/cgroup/unified/system.slice; do
  [ -d "$d" ] && [ -d /run/systemd/system ] && {{ c=$d; break; }}
done
if [ -n "$c" ]; then
  echo '@@ cgroup'
  for s in {names}; do
    [ -d "$c/$s.service" ] || continue
    p=; {{ read -r p <"$c/$s.service/cgroup.procs"; }} 2>/dev/null
    echo "$s $p"
  done
  exit 0
fi
if command -v systemctl >/dev/null; then
  a=$(timeout 3 systemctl is-active {names} 2>/dev/null)
  case $a in
  *active*)
    echo '@@ systemctl'
    set -- {names}
    for s in $a; do
      [ $# -gt 0 ] || break
      [ "$s" = active ] && echo "$1"
      shift
    done
    exit 0 ;;
  esac
fi
echo '@@ processes'
grep -sHxE '{programs}' /proc/[0-9]*/comm
:
"""
