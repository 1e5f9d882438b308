"""How ``hccn_tool`` and ``/etc/hccn.conf`` say that the NPUs' network is set up: link, health, addresses, TLS.

Pure parsers over text, of one answer or of a loop's; counters, history and optics are in ``hccn_detail``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from provision.accel.ascend.hccn_lines import ADDRESS, collect, numbered, problems
from provision.accel.ascend.text import assignments, integer

LINKS = ("UP", "DOWN")
FEC_MODES = ("rs", "no", "auto")
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
    send_arp: bool | None = None


@dataclass(frozen=True, slots=True)
class HccnConf:
    """``/etc/hccn.conf``, by device number."""

    devices: tuple[HccnAddress, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnState:
    """A one-word answer (link, net_health, fec). ``device`` is None where the output doesn't name it."""

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
class HccnGateway:
    """The default gateway of the NPU's own interface."""

    address: str
    interface: str | None = None
    device: int | None = None


@dataclass(frozen=True, slots=True)
class HccnGateways:
    """The answers in order."""

    entries: tuple[HccnGateway, ...] = ()
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
    return _states(text, "link status", "link state", LINKS)


def parse_net_health(text: str) -> HccnStates:
    """``hccn_tool -i N -net_health -g``: one of ``NET_HEALTHS``. Never raises."""
    return _states(text, "net[ _]health status", "net health", NET_HEALTHS)


def parse_ip(text: str) -> HccnIps:
    """``hccn_tool -i N -ip -g``: ``ipaddr:X`` and ``netmask:Y``. Never raises."""
    return _addresses(text, "", "address")


def parse_vnic(text: str) -> HccnIps:
    """``hccn_tool -i N -vnic -g``: the link, ``vnic ipaddr: X`` and ``vnic netmask: Y``. Never raises."""
    return _addresses(text, "vnic ", "vnic address")


def parse_netdetect(text: str) -> HccnIps:
    """``hccn_tool -i N -netdetect -g``: ``netdetect address: X``, or ``netdetect addr: X`` of 2026. Never raises."""

    def address(line: str, device: int | None) -> HccnIp | None:
        match = re.match(rf"netdetect addr(?:ess)?: *({ADDRESS})$", line)
        return HccnIp(match[1], device=device) if match else None

    found = collect(text, address)
    return HccnIps(tuple(found), problems(text, found, "detection address", "netdetect addr"))


def parse_gateway(text: str) -> HccnGateways:
    """``hccn_tool -i N -gateway -g``: ``default gateway:X, Iface:ethN``. Never raises."""

    def gateway(line: str, device: int | None) -> HccnGateway | None:
        match = re.match(rf"default gateway: *({ADDRESS})(?:, *Iface: *([\w.-]{{1,32}}))?$", line)
        return HccnGateway(match[1], match[2], device) if match else None

    found = collect(text, gateway)
    return HccnGateways(tuple(found), problems(text, found, "gateway", "default gateway"))


def parse_fec(text: str) -> HccnStates:
    """``hccn_tool -i N -fec -g``: one of ``FEC_MODES``; unequal ones at both ends keep a link down. Never raises."""
    return _states(text, "fec mode", "FEC mode", FEC_MODES)


def parse_set(text: str) -> HccnStates:
    """``hccn_tool -i N … -s …``: ``Cmd executed successfully!`` is the state ``done``. Never raises."""

    def done(line: str, device: int | None) -> HccnState | None:
        return HccnState("done", device) if line.startswith("Cmd executed successfully") else None

    found = collect(text, done)
    return HccnStates(tuple(found), problems(text, found, "success"))


def parse_tls(text: str) -> HccnTlsStates:
    """``hccn_tool -i N -tls -g``: the only answer that names its device. Never raises."""
    found = collect(text, _tls)
    return HccnTlsStates(tuple(found), problems(text, found, "TLS switch", "dev_id"))


def parse_conf(text: str) -> HccnConf:
    """/etc/hccn.conf: ``address_N=``, ``netmask_N=``, ``netdetect_N=``, ``gateway_N=``. Never raises."""
    devices: dict[int, HccnAddress] = {}
    for key, value in assignments(text).items():
        what, _, number = key.rpartition("_")
        device = integer(number)
        if device is not None and value:
            devices[device] = _configured(devices.get(device, HccnAddress(device)), what, value)
    found = [devices[number] for number in sorted(devices)]
    return HccnConf(tuple(found), problems(text, found, "device"))


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
        case "send_arp_status":
            return replace(entry, send_arp=value == "1")
    return entry


def _states(text: str, key: str, what: str, known: tuple[str, ...]) -> HccnStates:
    """``key: STATE`` lines. A state that isn't ``known`` is kept as it stands, and named among the problems."""

    words = "|".join(re.escape(word) for word in sorted(known, key=len, reverse=True))
    pattern = re.compile(rf"(?<!vnic ){key}: *((?:{words})\b|\S.{{0,60}}$)")

    def state(line: str, device: int | None) -> HccnState | None:
        match = pattern.search(line)
        return HccnState(match[1], device) if match else None

    found = collect(text, state)
    odd = dict.fromkeys(entry.state for entry in found if entry.state not in known)
    unknown = tuple(f"unknown {what} {word!r}" for word in odd)
    return HccnStates(tuple(found), problems(text, found, what, key) + unknown)


def _addresses(text: str, prefix: str, what: str) -> HccnIps:
    found: list[HccnIp] = []
    link: str | None = None
    for line, device in numbered(text):
        if prefix and (state := re.search(rf"{prefix}link status: *(UP|DOWN)\b", line)):
            link = state[1]
        elif address := re.match(rf"{prefix}ipaddr: *({ADDRESS})$", line):
            found.append(HccnIp(address[1], link=link, device=device))
            link = None
        elif found and (mask := re.match(rf"{prefix}netmask: *({ADDRESS})$", line)):
            found[-1] = replace(found[-1], netmask=mask[1])
    return HccnIps(tuple(found), problems(text, found, what, f"{prefix}ipaddr"))


def _tls(line: str, device: int | None) -> HccnTls | None:
    match = re.search(r"tls switch\[([01])\]", line)
    if match is None:
        return None
    own = re.search(r"dev_id: *([0-9]{1,9})\b", line)
    preset = re.search(r"tls preconfigured\[([01])\]", line)
    return HccnTls(int(own[1]) if own else device, match[1] == "1", preset[1] == "1" if preset else None)
