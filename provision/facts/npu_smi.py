"""``npu-smi info`` and ``npu-smi info -m`` of a node. The tool may hang: each call has its own deadline on the node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.npu_smi import Die, MappedChip, NpuProcess
from provision.facts.base import Fact


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that ``npu-smi`` lists, as the node knows it. ``container`` is the id of its container, or empty."""

    pid: int
    user: str = ""
    args: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True)
class NpuSmiValue:
    """``binary`` is where the tool was found, None where it's missing."""

    binary: str | None = None
    tool_version: str | None = None
    driver_version: str | None = None
    dies: tuple[Die, ...] = ()
    processes: tuple[NpuProcess, ...] = ()
    holders: tuple[Holder, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NpuSmi(Fact[NpuSmiValue]):
    """Health, memory and processes of every die."""

    name: ClassVar[str] = "npu-smi"
    deadline: ClassVar[float] = 40.0


@dataclass(frozen=True, slots=True)
class NpuSmiMappingValue:
    """``chips`` in the tool's order, management controllers left out."""

    binary: str | None = None
    chips: tuple[MappedChip, ...] = ()
    controllers: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NpuSmiMapping(Fact[NpuSmiMappingValue]):
    """Which card and chip is which device."""

    name: ClassVar[str] = "npu-smi-mapping"
    deadline: ClassVar[float] = 40.0
