"""The NPU's own network, device by device, through ``hccn_tool``: link, health, address, TLS switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact


@dataclass(frozen=True, slots=True)
class HccnDevice:
    """One device. ``link`` is UP or DOWN; ``net_health`` Success, Init, Fault…; ``tls`` the switch (0 off, 1 on)."""

    device: int
    link: str | None = None
    net_health: str | None = None
    address: str | None = None
    netmask: str | None = None
    tls: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnValue:
    """``tool`` is where hccn_tool was found, None where it's missing."""

    tool: str | None = None
    devices: tuple[HccnDevice, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hccn(Fact[HccnValue]):
    """NPU network of ``devices`` (davinci numbers), one call after the other: the tool must not run in parallel."""

    name: ClassVar[str] = "hccn"
    deadline: ClassVar[float] = 120.0
    devices: tuple[int, ...] = ()
