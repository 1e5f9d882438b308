"""What ``hccn_tool`` prints and ``/etc/hccn.conf`` holds, as values: pure parsers over text.

The tool names no device in most of its output, so a loop's answers are told apart by their order alone, or by the
command line that some logs print above each. Whoever calls it prints a marker per device instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from provision.accel.ascend.text import assignments, complaints, integer

T = TypeVar("T")

NET_HEALTHS = (
    "Success",
    "Socket fail",
    "Socket failed",
    "Receive timeout",
    "Unreachable",
    "Time exceeded",
    "Fault",
    "Init",
    "Thread error",
    "Detect ip set",
    "Unknown",
)
"""Every state of ``-net_health``; ``Init``: no detection address is set [hicann/driver, hccn_tool]."""


@dataclass(frozen=True, slots=True)
class HccnAddress:
    """One device's lines of ``/etc/hccn.conf``."""

    device: int
    address: str | None = None
    netmask: str | None = None
    netdetect: str | None = None
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class HccnConf:
    """``/etc/hccn.conf``, by device number."""

    devices: tuple[HccnAddress, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnState:
    """A one-word answer (link, net_health). ``device`` is None where the output doesn't name it."""

    state: str
    device: int | None = None


@dataclass(frozen=True, slots=True)
class HccnStates:
    """The answers in order."""

    entries: tuple[HccnState, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnIp:
    """An address of the NPU's own interface. ``link`` is printed for the virtual one (vnic) only."""

    address: str
    netmask: str | None = None
    link: str | None = None
    device: int | None = None


@dataclass(frozen=True, slots=True)
class HccnIps:
    """The answers in order."""

    entries: tuple[HccnIp, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnTls:
    """TLS of one device. ``enabled`` must be equal on all devices of all nodes."""

    device: int | None
    enabled: bool
    preconfigured: bool | None = None


@dataclass(frozen=True, slots=True)
class HccnTlsStates:
    """The answers in order."""

    entries: tuple[HccnTls, ...] = ()
    problems: tuple[str, ...] = ()


def parse_link(text: str) -> HccnStates:
    """``hccn_tool -i N -link -g``, once or in a loop: UP or DOWN. Never raises."""
    return _states(text, r"(?<!vnic )link status: *(UP|DOWN)\b", "link state")


def parse_net_health(text: str) -> HccnStates:
    """``hccn_tool -i N -net_health -g``: one of ``NET_HEALTHS``. Never raises."""
    words = "|".join(re.escape(word) for word in sorted(NET_HEALTHS, key=len, reverse=True))
    return _states(text, rf"net[ _]health status: *({words})\b", "net health")


def parse_ip(text: str) -> HccnIps:
    """``hccn_tool -i N -ip -g``: ``ipaddr:X`` and ``netmask:Y``. Never raises."""
    return _addresses(text, "", "address")


def parse_vnic(text: str) -> HccnIps:
    """``hccn_tool -i N -vnic -g``: the link, ``vnic ipaddr: X`` and ``vnic netmask: Y``. Never raises."""
    return _addresses(text, "vnic ", "vnic address")


def parse_tls(text: str) -> HccnTlsStates:
    """``hccn_tool -i N -tls -g``: the only answer that names its device. Never raises."""
    found = _collect(text, _tls)
    return HccnTlsStates(tuple(found), _problems(text, found, "TLS switch"))


def parse_conf(text: str) -> HccnConf:
    """/etc/hccn.conf: ``address_N=``, ``netmask_N=``, ``netdetect_N=``, ``gateway_N=``. Never raises."""
    devices: dict[int, HccnAddress] = {}
    for key, value in assignments(text).items():
        what, _, number = key.rpartition("_")
        device = integer(number)
        if device is not None and value:
            devices[device] = _configured(devices.get(device, HccnAddress(device)), what, value)
    found = [devices[number] for number in sorted(devices)]
    return HccnConf(tuple(found), _problems(text, found, "device"))


def _configured(entry: HccnAddress, what: str, value: str) -> HccnAddress:
    match what:
        case "address":
            return replace(entry, address=value)
        case "netmask":
            return replace(entry, netmask=value)
        case "netdetect":
            return replace(entry, netdetect=value)
        case "gateway":
            return replace(entry, gateway=value)
    return entry


def _states(text: str, pattern: str, what: str) -> HccnStates:
    def state(line: str, device: int | None) -> HccnState | None:
        match = re.search(pattern, line)
        return HccnState(match[1], device) if match else None

    found = _collect(text, state)
    return HccnStates(tuple(found), _problems(text, found, what))


def _addresses(text: str, prefix: str, what: str) -> HccnIps:
    found: list[HccnIp] = []
    link: str | None = None
    for line, device in _numbered(text):
        if prefix and (state := re.search(rf"{prefix}link status: *(UP|DOWN)\b", line)):
            link = state[1]
        elif address := re.match(rf"{prefix}ipaddr: *([0-9a-fA-F.:]+)$", line):
            found.append(HccnIp(address[1], link=link, device=device))
            link = None
        elif found and (mask := re.match(rf"{prefix}netmask: *([0-9a-fA-F.:]+)$", line)):
            found[-1] = replace(found[-1], netmask=mask[1])
    return HccnIps(tuple(found), _problems(text, found, what))


def _tls(line: str, device: int | None) -> HccnTls | None:
    match = re.search(r"tls switch\[([01])\]", line)
    if match is None:
        return None
    own = re.search(r"dev_id: *([0-9]{1,9})\b", line)
    preset = re.search(r"tls preconfigured\[([01])\]", line)
    return HccnTls(int(own[1]) if own else device, match[1] == "1", preset[1] == "1" if preset else None)


def _collect(text: str, read: Callable[[str, int | None], T | None]) -> list[T]:
    return [value for line, device in _numbered(text) if (value := read(line, device)) is not None]


def _numbered(text: str) -> Iterator[tuple[str, int | None]]:
    """Lines with the device they speak of: by their own prefix (``[devid N]``) or the command line printed above."""
    above: int | None = None
    for line in text.splitlines():
        stripped = line.strip()
        if command := re.search(r"hccn_tool\s+-i\s+([0-9]{1,9})\b", stripped):
            above = int(command[1])
        elif own := re.match(r"\[(?:devid|device) ([0-9]{1,9})\] *", stripped):
            yield stripped[own.end() :], int(own[1])
        else:
            yield stripped, above


def _problems(text: str, found: list[T], what: str) -> tuple[str, ...]:
    problems = list(complaints(text))
    if any(line.strip() == "..." for line in text.splitlines()):
        problems.append("lines were left out ('...')")
    if not found:
        last = text.strip().splitlines()[-1:]
        problems.append(f"no {what} in the output" + (f": {last[0].strip()[:120]}" if last else ""))
    return tuple(problems)
