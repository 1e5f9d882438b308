"""What else ``hccn_tool`` tells of an NPU's network: history of the link, neighbour, counters, optics, routes.

Pure parsers over text, of one answer or of a loop's; nothing here decides whether a node is fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from provision.accel.ascend.hccn_lines import ADDRESS, collect, numbered, problems
from provision.accel.ascend.text import integer

_TIME = r"[A-Z][a-z]{2} [A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{8} [0-9]{4}"


@dataclass(frozen=True, slots=True)
class LinkChange:
    """The link went ``UP`` or ``DOWN`` at ``time``, by the device's own clock: ``Tue Aug  1 14:44:40 2022``."""

    time: str
    state: str


@dataclass(frozen=True, slots=True)
class LinkHistory:
    """``-link_stat``. ``changes``: the newest first; ``ups`` and ``downs`` count since the driver was loaded."""

    device: int | None = None
    now: str | None = None
    ups: int | None = None
    downs: int | None = None
    changes: tuple[LinkChange, ...] = ()

    @property
    def last(self) -> LinkChange | None:
        """The newest change."""
        return self.changes[0] if self.changes else None

    def downs_within(self, hours: float) -> int:
        """How often the link went down in the last ``hours`` before ``now``; 0 where a time cannot be read."""
        now = _moment(self.now)
        times = [_moment(change.time) for change in self.changes if change.state == "DOWN"]
        span = timedelta(hours=hours)
        return sum(1 for time in times if now and time and timedelta() <= now - time <= span)


@dataclass(frozen=True, slots=True)
class LinkHistories:
    """The answers in order."""

    entries: tuple[LinkHistory, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbour:
    """``-lldp``: the switch at the other end. ``port`` is its port's name (``400GE1/1/20:2``), ``max_frame`` bytes."""

    device: int | None = None
    chassis: str | None = None
    port: str | None = None
    system: str | None = None
    address: str | None = None
    max_frame: int | None = None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The answers in order. No entry for a device without a neighbour."""

    entries: tuple[Neighbour, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Counters:
    """``-stat`` or ``-hw_stats`` of one device: counts by name, since the driver was loaded or they were cleared."""

    device: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CounterSets:
    """The answers in order."""

    entries: tuple[Counters, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Optical:
    """``-optical``. Powers in milliwatts, a value a lane (None: not told); ``rx_los`` and the like are bit masks of
    lanes without signal, 0 is good. ``rx_range_mw``: the module's own (lowest, highest) limits."""

    device: int | None = None
    present: bool | None = None
    vendor: str | None = None
    part: str | None = None
    serial: str | None = None
    temperature_c: float | None = None
    tx_power_mw: tuple[float | None, ...] = ()
    rx_power_mw: tuple[float | None, ...] = ()
    tx_range_mw: tuple[float, float] | None = None
    rx_range_mw: tuple[float, float] | None = None
    tx_los: int | None = None
    rx_los: int | None = None
    tx_lol: int | None = None
    rx_lol: int | None = None


@dataclass(frozen=True, slots=True)
class Opticals:
    """The answers in order."""

    entries: tuple[Optical, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnRoute:
    """A route of the NPU's own interface. ``gateway`` is None on a directly connected network (``*``)."""

    destination: str
    gateway: str | None
    mask: str
    flags: str
    interface: str
    device: int | None = None


@dataclass(frozen=True, slots=True)
class HccnRoutes:
    """The routes in order."""

    entries: tuple[HccnRoute, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """``-status``, which prints as ethtool does. ``speed_mbps`` is megabits a second."""

    device: int | None = None
    interface: str | None = None
    speed_mbps: int | None = None
    auto_negotiation: bool | None = None
    fec_modes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ports:
    """The answers in order."""

    entries: tuple[Port, ...] = ()
    problems: tuple[str, ...] = ()


def parse_link_stat(text: str) -> LinkHistories:
    """``hccn_tool -i N -link_stat -g``: how often and when the link went up and down. Never raises."""
    found: list[LinkHistory] = []
    for line, device in numbered(text):
        start = re.match(rf"current time *: *({_TIME})$", line)
        if start:
            found.append(LinkHistory(device=device, now=start[1]))
        elif not found and re.match(r"link (up|down) count *:", line):
            found.append(LinkHistory(device=device))
        if found:
            found[-1] = _history(found[-1], line)
    return LinkHistories(tuple(found), problems(text, found, "link history"))


def _history(entry: LinkHistory, line: str) -> LinkHistory:
    count = re.match(r"link (up|down) count *: *([0-9]{1,18})$", line, re.ASCII)
    if count:
        return replace(entry, ups=int(count[2])) if count[1] == "up" else replace(entry, downs=int(count[2]))
    state, time = re.search(r"\bLINK[ _](UP|DOWN)\b", line), re.search(_TIME, line)
    if state and time:
        return replace(entry, changes=(*entry.changes, LinkChange(time[0], state[1])))
    return entry


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(" ".join((text or "").split()), "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None


def parse_lldp(text: str) -> Neighbours:
    """``hccn_tool -i N -lldp -g``, whole or its ``Ifname`` lines alone: what stands at the other end. Never raises."""
    found: list[Neighbour] = []
    title, words, free = "", list[str](), True
    for line, device in numbered(text):
        if line.endswith(" TLV"):
            title, words = line.removesuffix(" TLV"), []
            free = free or title in ("Chassis ID", "End of LLDPDU")
            continue
        words = [*words, *line.split()]
        told = _told(title, line, " ".join(words))
        if not told:
            continue
        if free or (found and "port" in told and found[-1].port is not None):
            found.append(Neighbour(device=device))
            free = False
        found[-1] = replace(found[-1], **told)
    return Neighbours(tuple(found), problems(text, found, "neighbour"))


def _told(title: str, line: str, so_far: str) -> dict[str, str]:
    """What a line adds to a neighbour; ``so_far`` is the whole text below the title, for values of several lines."""
    if port := re.match(r"Ifname: *(\S{1,120})$", line):
        return {"port": port[1]}
    if title == "Chassis ID" and (mac := re.match(r"MAC: *([0-9a-fA-F:.-]{11,23})$", line)):
        return {"chassis": mac[1]}
    if title == "System Description" and so_far:
        return {"system": so_far[:500]}
    if title == "Management Address" and (address := re.match(r"IPv[46]: *(\S{1,45})$", line)):
        return {"address": address[1]}
    return {}
