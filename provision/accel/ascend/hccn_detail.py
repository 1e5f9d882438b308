"""What else ``hccn_tool`` tells of an NPU's network: history of the link, neighbour, counters, optics, routes.

Pure parsers over text, of one answer or of a loop's; nothing here decides whether a node is fit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from provision.accel.ascend.hccn_lines import Block, blocks, collect, problems
from provision.accel.ascend.text import integer

T = TypeVar("T")

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
    start = "current time" if "current time" in text else "link up count"
    found = _read(text, start, _history)
    return LinkHistories(tuple(found), problems(text, found, "link history") + _unread_changes(text, found))


def _history(block: Block) -> LinkHistory | None:
    said = block.values()
    changes = []
    for line in block.lines:
        state, time = re.search(r"\bLINK[ _](UP|DOWN)\b", line), re.search(_TIME, line)
        if state and time:
            changes.append(LinkChange(time[0], state[1]))
    now = re.match(_TIME, said.get("current time", ""))
    ups, downs = integer(said.get("link up count", "")), integer(said.get("link down count", ""))
    if now is None and ups is None and not changes:
        return None
    return LinkHistory(block.device, now[0] if now else None, ups, downs, tuple(changes))


def _unread_changes(text: str, found: list[LinkHistory]) -> tuple[str, ...]:
    meant = len(re.findall(r"\bLINK[ _](?:UP|DOWN)\b", text))
    unread = meant - sum(len(entry.changes) for entry in found)
    return (f"{unread} of {meant} link changes could not be read",) if unread > 0 else ()


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(" ".join((text or "").split()), "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None


def parse_lldp(text: str) -> Neighbours:
    """``hccn_tool -i N -lldp -g``, whole or its ``Ifname`` lines alone: what stands at the other end. Never raises."""
    found = _read(text, "Chassis ID TLV" if " TLV" in text else "Ifname:", _neighbour)
    return Neighbours(tuple(found), problems(text, found, "neighbour"))


def _neighbour(block: Block) -> Neighbour | None:
    below: dict[str, list[str]] = {}
    title = ""
    for line in block.lines:
        title = line.removesuffix(" TLV") if line.endswith(" TLV") else title
        below.setdefault(title, []).extend(() if line.endswith(" TLV") else (line,))
    port = _first(r"Ifname: *(\S{1,120})$", block.lines)
    chassis = _first(r"MAC: *([0-9a-fA-F:.-]{11,23})$", below.get("Chassis ID", []))
    if port is None and chassis is None:
        return None
    return Neighbour(
        block.device,
        chassis,
        port,
        system=" ".join(" ".join(below.get("System Description", [])).split())[:500] or None,
        address=_first(r"IPv[46]: *(\S{1,45})$", below.get("Management Address", [])),
        max_frame=integer(_first(r"([0-9]{1,9})$", below.get("Maximum Frame Size", [])) or ""),
    )


def _first(pattern: str, lines: list[str] | tuple[str, ...]) -> str | None:
    return next((match[1] for line in lines if (match := re.match(pattern, line, re.ASCII))), None)


def parse_counters(text: str) -> CounterSets:
    """``hccn_tool -i N -stat -g`` and ``-hw_stats -g``: ``name:count`` lines. Never raises."""
    found = _read(text, "packet statistics:", _counters)
    return CounterSets(tuple(found), problems(text, found, "counter"))


def _counters(block: Block) -> Counters | None:
    matches = [re.fullmatch(r"([A-Za-z]\w{0,79}) *: *([0-9]{1,20})", line, re.ASCII) for line in block.lines]
    counts = {match[1]: int(match[2]) for match in matches if match}
    return Counters(block.device, counts) if counts else None


def parse_optical(text: str) -> Opticals:
    """``hccn_tool -i N -optical -g``, of one lane or of several; each value may be NA. Never raises."""
    found = _read(text, "optical info:", _optical)
    return Opticals(tuple(found), problems(text, found, "optical module"))


def _optical(block: Block) -> Optical | None:
    said = block.values()
    if "present" not in said and "Rx Los Flag" not in said:
        return None
    return Optical(
        device=block.device,
        present={"present": True, "not present": False}.get(said.get("present", "")),
        vendor=said.get("vendor name") or None,
        part=said.get("vendor part number") or None,
        serial=said.get("vendor serial number") or None,
        temperature_c=_amount(said.get("temperature"), "C"),
        tx_power_mw=_lanes(said, "Tx Power"),
        rx_power_mw=_lanes(said, "Rx Power"),
        tx_range_mw=_range(said, "TxPower"),
        rx_range_mw=_range(said, "RxPower"),
        tx_los=_mask(said.get("Tx Los Flag")),
        rx_los=_mask(said.get("Rx Los Flag")),
        tx_lol=_mask(said.get("Tx LoL Flag")),
        rx_lol=_mask(said.get("Rx LoL Flag")),
    )


def _amount(text: str | None, unit: str) -> float | None:
    match = re.fullmatch(rf"(-?[0-9]{{1,9}}(?:\.[0-9]{{1,9}})?) *{unit}", text or "", re.ASCII)
    return float(match[1]) if match else None


def _lanes(said: Mapping[str, str], key: str) -> tuple[float | None, ...]:
    """``Tx Power`` of a module of one lane, or ``Tx Power0`` and on."""
    return tuple(_amount(value, "mW") for name, value in said.items() if re.fullmatch(rf"{key}[0-9]?", name))


def _range(said: Mapping[str, str], key: str) -> tuple[float, float] | None:
    low, high = _amount(said.get(f"{key} Low Thres"), "mW"), _amount(said.get(f"{key} High Thres"), "mW")
    return None if low is None or high is None else (low, high)


def _mask(text: str | None) -> int | None:
    return int(text, 16) if text and re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text) else None


def parse_route(text: str) -> HccnRoutes:
    """``hccn_tool -i N -route -g``: the table as ``route`` prints it. Never raises."""

    def route(line: str, device: int | None) -> HccnRoute | None:
        words = line.split()
        if len(words) != 8 or not words[4].isdecimal() or not re.fullmatch(r"[A-Z!]{1,9}", words[3]):
            return None
        return HccnRoute(words[0], None if words[1] == "*" else words[1], words[2], words[3], words[7], device)

    found = collect(text, route)
    return HccnRoutes(tuple(found), problems(text, found, "route"))


def parse_status(text: str) -> Ports:
    """``hccn_tool -i N -status -g``: speed and abilities of the port. Never raises."""
    found = _read(text, "(Netdev status:)? *Settings for ", _port)
    return Ports(tuple(found), problems(text, found, "port"))


def _port(block: Block) -> Port | None:
    said = block.values()
    interface = next((m[1] for line in block.lines if (m := re.search(r"Settings for ([\w.-]{1,32}):", line))), None)
    speed = re.match(r"([0-9]{1,9})Mb/s", said.get("Speed", ""), re.ASCII)
    if interface is None and speed is None:
        return None
    return Port(
        block.device,
        interface,
        int(speed[1]) if speed else None,
        {"Yes": True, "No": False}.get(said.get("Supports auto-negotiation", "")),
        tuple(said.get("Supported FEC modes", "").split()),
    )


def _read(text: str, start: str, read: Callable[[Block], T | None]) -> list[T]:
    return [value for block in blocks(text, start) if (value := read(block)) is not None]
