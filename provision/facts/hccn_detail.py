"""What else ``hccn_tool`` tells of the NPUs' network: gateway, detection address, switch port, virtual interface, how
often the link went down, and on demand counters and optics.

Apart from ``hccn``, as ``up`` needs none of it; same rules: one call at a time, each with its deadline, three that hang
end the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeVar

from provision.accel.ascend.hccn import parse_gateway, parse_netdetect, parse_vnic
from provision.accel.ascend.hccn_detail import (
    LinkHistory,
    Optical,
    parse_counters,
    parse_link_stat,
    parse_lldp,
    parse_optical,
)
from provision.facts.base import Fact
from provision.facts.hccn import Answers, sweep
from provision.facts.reading import complaints
from provision.results import Result

Extra = Literal["vnic", "stat", "optical"]
T = TypeVar("T")

_ALWAYS = ("gateway", "netdetect", "lldp", "link_stat")


@dataclass(frozen=True, slots=True)
class HccnDetailDevice:
    """One device. ``switch_port`` is the neighbour's name of the port the cable is in; ``switch`` who that is.

    ``vnic`` and ``vnic_link``: address and state of the interface inside a super-pod (A3). ``history``: of the link.
    """

    device: int
    gateway: str | None = None
    gateway_interface: str | None = None
    netdetect: str | None = None
    switch_port: str | None = None
    switch: str | None = None
    vnic: str | None = None
    vnic_link: str | None = None
    history: LinkHistory | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    optical: Optical | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnDetailValue:
    """``tool`` is where hccn_tool was found, None where it's missing."""

    tool: str | None = None
    devices: tuple[HccnDetailDevice, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnDetail(Fact[HccnDetailValue]):
    """Details of the NPU network of ``devices`` (davinci numbers; empty: all that the node has). ``extra``: ``vnic`` on
    A3; ``stat``, ``optical``."""

    name: ClassVar[str] = "hccn-detail"
    deadline: ClassVar[float] = 120.0
    devices: tuple[int, ...] = ()
    extra: tuple[Extra, ...] = ()

    def script(self) -> str:
        return sweep(self.devices, (*_ALWAYS, *self.extra))

    def parse(self, raw: Result) -> HccnDetailValue:
        answers = Answers.read(raw)
        if answers.tool is None:
            return HccnDetailValue(problems=complaints(raw) or ("hccn_tool was not found",))
        devices = tuple(self._device(number, answers) for number in answers.devices(self.devices))
        return HccnDetailValue(answers.tool, devices, complaints(raw))

    def _device(self, number: int, answers: Answers) -> HccnDetailDevice:
        def first(what: str, read: Callable[[str], tuple[T, ...]]) -> T | None:
            return next(iter(read(answers.said(number, what))), None)

        gateway = first("gateway", lambda text: parse_gateway(text).entries)
        netdetect = first("netdetect", lambda text: parse_netdetect(text).entries)
        neighbour = first("lldp", lambda text: parse_lldp(text).entries)
        vnic = first("vnic", lambda text: parse_vnic(text).entries)
        counters = first("stat", lambda text: parse_counters(text).entries)
        return HccnDetailDevice(
            device=number,
            gateway=gateway.address if gateway else None,
            gateway_interface=gateway.interface if gateway else None,
            netdetect=netdetect.address if netdetect else None,
            switch_port=neighbour.port if neighbour else None,
            switch=(neighbour.system or neighbour.chassis) if neighbour else None,
            vnic=vnic.address if vnic else None,
            vnic_link=vnic.link if vnic else None,
            history=first("link_stat", lambda text: parse_link_stat(text).entries),
            counters=counters.counts if counters else {},
            optical=first("optical", lambda text: parse_optical(text).entries),
            problems=answers.problems(number, (*_ALWAYS, *self.extra)),
        )
