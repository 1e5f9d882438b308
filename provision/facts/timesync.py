"""Whether the node's clock follows a time server, which one, and how far off it is by its own account.

The service that runs is asked by its own tool, one only; nothing is started for it. ``clock`` tells the time itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, decimal, integer, pairs, section, sections
from provision.results import Result

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}


@dataclass(frozen=True, slots=True)
class TimeSyncValue:
    """``synchronized`` is None where nobody could be asked. ``service``: chronyd, systemd-timesyncd, ntpd, or empty
    where none was found. ``source``: the server it follows. ``offset``: seconds by which the node is ahead of it
    (negative: behind), None where it isn't told. ``stratum``: hops to a reference clock, 16 or 0 for none."""

    synchronized: bool | None = None
    service: str = ""
    source: str = ""
    offset: float | None = None
    stratum: int | None = None
    timezone: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimeSync(Fact[TimeSyncValue]):
    """State of the time service."""

    name: ClassVar[str] = "time-sync"

    def script(self) -> str:
        return _LOOK

    def parse(self, raw: Result) -> TimeSyncValue:
        parts = {part.words[0]: part for part in sections(raw.stdout) if part.words}
        asked = next((name for name in _PARSERS if name in parts), "")
        value = _PARSERS[asked](parts[asked].body) if asked else TimeSyncValue()
        if "flag" in parts and value.synchronized is None:
            value = replace(value, synchronized=True)
        problems = complaints(raw) + value.problems
        if value.synchronized is None and not problems:
            problems = ("no time service was found that could be asked",)
        zone = section(raw.stdout, "zone").strip().rpartition("zoneinfo/")[2]
        return replace(value, timezone=value.timezone or zone, problems=problems)


# timedatectl without a running timesyncd starts a service to answer; it is the last resort.
_LOOK = """\
echo '@@ zone'; readlink /etc/localtime
[ -e /run/systemd/timesync/synchronized ] && echo '@@ flag'
has() { command -v "$1" >/dev/null; }
c=no n=no
for f in /run/chrony/chronyd.pid /run/chronyd.pid /var/run/chronyd.pid; do [ -e "$f" ] && c=yes; done
for f in /run/ntpd.pid /var/run/ntpd.pid /run/ntpd/ntpd.pid /run/ntpsec/ntpd.pid; do [ -e "$f" ] && n=yes; done
if [ $c = yes ] && has chronyc; then echo '@@ chronyc'; timeout 3 chronyc -n tracking 2>&1 || echo "exit $?"
elif [ $n = yes ] && has ntpq; then echo '@@ ntpq'; timeout 3 ntpq -pn 2>&1 || echo "exit $?"
elif [ $n = yes ] && has ntpstat; then echo '@@ ntpstat'; timeout 3 ntpstat 2>&1 || echo "exit $?"
elif [ -d /run/systemd/timesync ] && has timedatectl; then
  echo '@@ timesync-status'; timeout 3 timedatectl timesync-status 2>&1 || echo "exit $?"
elif [ -d /run/systemd/system ] && has timedatectl; then
  echo '@@ timedatectl'; timeout 4 timedatectl show 2>&1 || echo "exit $?"
elif has ntpq; then echo '@@ ntpq'; timeout 3 ntpq -pn 2>&1 || echo "exit $?"
fi
:
"""


def parse_chronyc(text: str) -> TimeSyncValue:
    """``chronyc tracking``. Never raises."""
    said = pairs(text.splitlines(), ":")
    leap = said.get("Leap status", "")
    if not leap:
        return TimeSyncValue(service="chronyd", problems=(_refused("chronyc", text),))
    time = re.match(r"([0-9.]+) seconds (slow|fast) of NTP time", said.get("System time", ""))
    far = decimal(time[1]) if time else None
    source = re.search(r"\((.*)\)", said.get("Reference ID", ""))
    synchronized = leap != "Not synchronised"
    return TimeSyncValue(
        synchronized=synchronized,
        service="chronyd",
        source=source[1] if source else "",
        offset=None if far is None or time is None or not synchronized else far if time[2] == "fast" else -far,
        stratum=integer(said.get("Stratum", "")),
    )


def parse_timesync_status(text: str) -> TimeSyncValue:
    """``timedatectl timesync-status``: an offset is only there once a server has answered. Never raises."""
    said = pairs(text.splitlines(), ":")
    value = TimeSyncValue(service="systemd-timesyncd", source=said.get("Server", "").partition(" ")[0])
    # systemd's offset is the server's time minus ours
    match = re.fullmatch(r"([+-]?)([0-9.]+)(ns|us|ms|s|min)", said.get("Offset", ""))
    far = decimal(match[2]) if match else None
    if match and far is not None:
        far *= _UNITS[match[3]]
        value = replace(value, offset=far if match[1] == "-" else -far, synchronized=True)
    elif "Packet count" in said or "Server" in said:
        value = replace(value, synchronized=False)
    else:
        value = replace(value, problems=(_refused("timedatectl", text),))
    return replace(value, stratum=integer(said.get("Stratum", "")))


def parse_timedatectl(text: str) -> TimeSyncValue:
    """``timedatectl show``. Never raises."""
    said = pairs(text.splitlines())
    synchronized = {"yes": True, "no": False}.get(said.get("NTPSynchronized", ""))
    problems = () if synchronized is not None else (_refused("timedatectl", text),)
    return TimeSyncValue(synchronized, timezone=said.get("Timezone", ""), problems=problems)


def parse_ntpq(text: str) -> TimeSyncValue:
    """``ntpq -pn``: the peer with a star is followed; its offset in milliseconds is its time minus ours."""
    lines = text.splitlines()
    if not any("refid" in line and "offset" in line for line in lines):
        return TimeSyncValue(service="ntpd", problems=(_refused("ntpq", text),))
    peer = next((line[1:].split() for line in lines if line[:1] in "*o" and len(line.split()) >= 10), None)
    if peer is None:
        return TimeSyncValue(False, "ntpd")
    far = decimal(peer[8].removeprefix("+"))
    return TimeSyncValue(True, "ntpd", peer[0], None if far is None else -far / 1000, integer(peer[2]))


def parse_ntpstat(text: str) -> TimeSyncValue:
    """``ntpstat``. Never raises."""
    match = re.search(r"^synchroni[sz]ed to .*?(?:\((.*?)\).*)? at stratum ([0-9]{1,2})", text, re.MULTILINE)
    if match:
        return TimeSyncValue(True, "ntpd", match[1] or "", stratum=int(match[2]))
    if re.search(r"^unsynchroni[sz]ed", text, re.MULTILINE):
        return TimeSyncValue(False, "ntpd")
    return TimeSyncValue(service="ntpd", problems=(_refused("ntpstat", text),))


_PARSERS = {
    "chronyc": parse_chronyc,
    "ntpq": parse_ntpq,
    "ntpstat": parse_ntpstat,
    "timesync-status": parse_timesync_status,
    "timedatectl": parse_timedatectl,
}


def _refused(tool: str, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines[-1:] == ["exit 124"]:
        return f"{tool} does not end"
    return f"{tool}: {lines[0]}" if lines else f"{tool} said nothing"
