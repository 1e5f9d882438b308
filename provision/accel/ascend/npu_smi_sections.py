"""What ``npu-smi info -t TYPE`` prints, as values: pure parsers over text.

Each type is a table of keys; how an output falls into chips is ``blocks.py``'s matter. ``chip`` is None where the query
itself named the chip (``-c``) or the card has one only (950). A key that a newer tool may add is kept in ``other``;
what could not be read, what is missing, and what is an alarm is said in ``problems``. Nothing here raises on any text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from provision.accel.ascend.blocks import Block, Blocks, Pairs, Spec, blocks, decimals, integers, plain, values, words
from provision.accel.ascend.npu_smi import HEALTHS
from provision.accel.ascend.text import complaints, cut_off, fields, integer, known

C = TypeVar("C")


# ---- health


@dataclass(frozen=True, slots=True)
class ChipHealth:
    """Health of one chip. ``codes`` are hex words (``81078603``), ``information`` one text each at best."""

    health: str | None
    chip: int | None = None
    codes: tuple[str, ...] = ()
    information: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NpuHealth:
    """``npu-smi info -t health``. ``controller`` is the management controller's health, where it is printed."""

    npu: int | None = None
    chips: tuple[ChipHealth, ...] = ()
    controller: str | None = None
    problems: tuple[str, ...] = ()


_HEALTH_KEYS = ("health", "healthstatus")


def parse_health(text: str) -> NpuHealth:
    """``npu-smi info -t health``, with ``-c`` (codes) or without (a block a chip, then the controller). Never raises.

    950 calls the key ``Health`` where others say ``Health Status``.
    """
    read = blocks(text, "health", _HEALTH_KEYS)
    found = [_chip_health(block) for block in read.chips]
    problems = [*read.problems, *(problem for _, said in found for problem in said)]
    controller = _health_word(read.controller) if read.controller else None
    if read.controller and controller != "OK":
        problems.append(f"the management controller's health is {controller or 'unreadable'}")
    return NpuHealth(read.npu, tuple(chip for chip, _ in found), controller, tuple(problems))


def _health_word(block: Block) -> str | None:
    found = next((value for key, value in block.pairs if plain(key) in _HEALTH_KEYS), None)
    return found if found in HEALTHS else None


def _chip_health(block: Block) -> tuple[ChipHealth, list[str]]:
    health, problems = _health_word(block), []
    said = [value for key, value in block.pairs if plain(key) == "errorcode"][:1]
    codes = tuple(code for code in said[0].split() if known(code)) if said else ()
    if health is None:
        problems.append(f"{block.label}its health could not be read")
    elif health != "OK":
        problems.append(f"{block.label}its health is {health}" + (f", codes {' '.join(codes)}" if codes else ""))
    problems += [f"{block.label}{c[:40]!r} is no error code" for c in codes if not _CODE.fullmatch(c)]
    codes = tuple(code for code in codes if _CODE.fullmatch(code))
    return ChipHealth(health, block.chip, codes, tuple(_information(block.pairs))), problems


_CODE = re.compile(r"(?:0x)?[0-9A-Fa-f]{4,16}")


def _information(pairs: Pairs) -> Iterable[str]:
    """``Error Information`` and the lines with an empty key that continue it."""
    inside = False
    for key, value in pairs:
        inside = plain(key) == "errorinformation" or (inside and not key)
        if inside and (text := known(value)):
            yield text


# ---- board


@dataclass(frozen=True, slots=True)
class NpuBoard:
    """``npu-smi info -t board``, of a card or (with ``-c``) of a chip.

    ``soc`` is the chip's name as images and CANN know it, lower case (ascend910b4, ascend910_9392), None where this
    output alone can't tell it. ``compatibility`` is the tool's word on driver and firmware, ``firmware_fits`` its
    meaning: true for ``OK``, false for ``NOT SUPPORT``, None where it isn't said. ``other`` holds the remaining lines.
    """

    npu: int | None = None
    chip: int | None = None
    npu_name: str | None = None
    chip_name: str | None = None
    chip_type: str | None = None
    soc: str | None = None
    product: str | None = None
    serial: str | None = None
    software_version: str | None = None
    firmware_version: str | None = None
    compatibility: str | None = None
    firmware_fits: bool | None = None
    board_id: str | None = None
    bus_id: str | None = None
    pci_vendor: str | None = None
    pci_device: str | None = None
    chips: int | None = None
    chip_faults: int | None = None
    other: Pairs = ()
    problems: tuple[str, ...] = ()


_BOARD: Spec = {
    **integers({"NPU ID": "npu", "Chip ID": "chip", "Chip Count": "chips", "Chip Fault": "chip_faults"}),
    **words(
        {
            "NPU Name": "npu_name",
            "Chip Name": "chip_name",
            "Chip Type": "chip_type",
            "Product Name": "product",
            "Serial Number": "serial",
            "Software Version": "software_version",
            "Firmware Version": "firmware_version",
            "Compatibility": "compatibility",
            "Board ID": "board_id",
            "PCIe Bus Info": "bus_id",
            "PCI Vendor ID": "pci_vendor",
            "PCI Device ID": "pci_device",
        }
    ),
}


def parse_board(text: str) -> NpuBoard:
    """``npu-smi info -t board -i N [-c M]``. Never raises."""
    pairs = tuple(pair for pair in fields(text) if pair[0])
    found, other, said = values(Block(None, pairs), _BOARD)
    problems = [*complaints(text), *cut_off(text), *said]
    if not found:
        problems.append("no board in the output")
    fits = _fits(known(str(found.get("compatibility") or "")))
    if fits is False:
        problems.append(f"driver and firmware do not fit each other: Compatibility {found['compatibility']}")
    if found.get("chip_faults"):
        problems.append(f"{found['chip_faults']} faulty chips")
    board: Callable[..., NpuBoard] = NpuBoard
    return board(**found, soc=_soc(found), firmware_fits=fits, other=other, problems=tuple(problems))


def _fits(word: str | None) -> bool | None:
    if word is None or "unknown" in word.lower():
        return None
    return word == "OK"


def _soc(found: dict[str, object]) -> str | None:
    """A2: chip type and name joined; A3: chip name, ``_``, NPU name [domain.md 1.3]. ``Ascend910`` alone is no name."""
    chip, npu, kind = (found.get(name) for name in ("chip_name", "npu_name", "chip_type"))
    if not isinstance(chip, str):
        return None
    if chip.endswith("910"):
        return f"{chip}_{npu}".lower() if npu else None
    return f"{kind}{chip}".lower() if kind else chip.lower() if chip.startswith("Ascend") else None


# ---- types that are one table of keys a chip


def _chips(read: Blocks, spec: Spec, make: Callable[..., C]) -> tuple[tuple[C, ...], tuple[str, ...]]:
    """A value of type ``make`` for each chip, and all problems."""
    chips, problems = [], list(read.problems)
    for block in read.chips:
        found, other, said = values(block, spec)
        chips.append(make(chip=block.chip, other=other, **found))
        problems += said
    return tuple(chips), tuple(problems)


@dataclass(frozen=True, slots=True)
class ChipEcc:
    """Memory errors of a chip: ``single`` corrected, ``double`` not; now, over its life (``total``), pages taken out of
    use (``isolated``) and due to be (``next_isolated``, 950)."""

    chip: int | None = None
    ddr_single: int | None = None
    ddr_double: int | None = None
    ddr_single_total: int | None = None
    ddr_double_total: int | None = None
    ddr_single_isolated: int | None = None
    ddr_double_isolated: int | None = None
    hbm_single: int | None = None
    hbm_double: int | None = None
    hbm_single_total: int | None = None
    hbm_double_total: int | None = None
    hbm_single_isolated: int | None = None
    hbm_double_isolated: int | None = None
    hbm_single_next_isolated: int | None = None
    hbm_double_next_isolated: int | None = None
    other: Pairs = ()

    @property
    def uncorrected(self) -> int:
        """Double-bit errors since the counters were cleared, of both memories."""
        return (self.ddr_double or 0) + (self.hbm_double or 0)

    @property
    def isolated(self) -> int:
        """Pages that are out of use because of double-bit errors."""
        return (self.ddr_double_isolated or 0) + (self.hbm_double_isolated or 0)


@dataclass(frozen=True, slots=True)
class NpuEcc:
    """``npu-smi info -t ecc``."""

    npu: int | None = None
    chips: tuple[ChipEcc, ...] = ()
    problems: tuple[str, ...] = ()


_ECC = integers(
    {
        f"{memory} {bits} Bit {what}": f"{memory}_{bits}{field}".lower()
        for memory in ("DDR", "HBM")
        for bits in ("Single", "Double")
        for what, field in {
            "Error Count": "",
            "Aggregate Total Err Cnt": "_total",
            "Isolated Pages Count": "_isolated",
            **({"Next-Isolated Pages Count": "_next_isolated"} if memory == "HBM" else {}),
        }.items()
    }
)


def parse_ecc(text: str) -> NpuEcc:
    """``npu-smi info -t ecc -i N``. Never raises."""
    read = blocks(text, "ECC counter", _ECC)
    chips, problems = _chips(read, _ECC, ChipEcc)
    return NpuEcc(read.npu, chips, problems)


@dataclass(frozen=True, slots=True)
class ChipCommon:
    """Rates in percent, frequencies in MHz (``aicore_mhz`` is the present one), power in watts, degrees Celsius."""

    chip: int | None = None
    memory_percent: int | None = None
    hbm_percent: int | None = None
    aicore_percent: int | None = None
    aicore_rated_mhz: int | None = None
    aicore_mhz: int | None = None
    aicore_count: int | None = None
    temp_c: int | None = None
    power_w: float | None = None
    other: Pairs = ()


@dataclass(frozen=True, slots=True)
class NpuCommon:
    """``npu-smi info -t common``."""

    npu: int | None = None
    chips: tuple[ChipCommon, ...] = ()
    controller_temp_c: int | None = None
    problems: tuple[str, ...] = ()


_COMMON: Spec = {
    **integers(
        {
            "Memory Usage Rate(%)": "memory_percent",
            "HBM Usage Rate(%)": "hbm_percent",
            "Aicore Usage Rate(%)": "aicore_percent",
            "Aicore Freq(MHZ)": "aicore_rated_mhz",
            "Aicore curFreq(MHZ)": "aicore_mhz",
            "Aicore Count": "aicore_count",
            "Temperature(C)": "temp_c",
        }
    ),
    **decimals({"NPU Real-time Power(W)": "power_w"}),
}


def parse_common(text: str) -> NpuCommon:
    """``npu-smi info -t common -i N``. Never raises."""
    read = blocks(text, "common information", _COMMON)
    chips, problems = _chips(read, _COMMON, ChipCommon)
    return NpuCommon(read.npu, chips, _controller_degrees(read, _COMMON), problems)


def _controller_degrees(read: Blocks, spec: Spec) -> int | None:
    degrees = values(read.controller, spec)[0].get("temp_c") if read.controller else None
    return degrees if isinstance(degrees, int) else None


@dataclass(frozen=True, slots=True)
class ChipUsages:
    """Capacities in MB, the rest in percent. ``hbm_mb`` is below the rated size where pages are isolated."""

    chip: int | None = None
    ddr_mb: int | None = None
    ddr_percent: int | None = None
    ddr_hugepages: int | None = None
    ddr_hugepages_percent: int | None = None
    hbm_mb: int | None = None
    hbm_percent: int | None = None
    aicore_percent: int | None = None
    aivector_percent: int | None = None
    aicube_percent: int | None = None
    aicpu_percent: int | None = None
    ctrlcpu_percent: int | None = None
    ddr_bandwidth_percent: int | None = None
    hbm_bandwidth_percent: int | None = None
    npu_percent: int | None = None
    other: Pairs = ()


@dataclass(frozen=True, slots=True)
class NpuUsages:
    """``npu-smi info -t usages``."""

    npu: int | None = None
    chips: tuple[ChipUsages, ...] = ()
    problems: tuple[str, ...] = ()


_USAGES = integers(
    {
        "DDR Capacity(MB)": "ddr_mb",
        "DDR Usage Rate(%)": "ddr_percent",
        "DDR Hugepages Total(page)": "ddr_hugepages",
        "DDR Hugepages Usage Rate(%)": "ddr_hugepages_percent",
        "HBM Capacity(MB)": "hbm_mb",
        "HBM Usage Rate(%)": "hbm_percent",
        "Aicore Usage Rate(%)": "aicore_percent",
        "Aivector Usage Rate(%)": "aivector_percent",
        "Aicube Usage Rate(%)": "aicube_percent",
        "Aicpu Usage Rate(%)": "aicpu_percent",
        "Ctrlcpu Usage Rate(%)": "ctrlcpu_percent",
        "DDR Bandwidth Usage Rate(%)": "ddr_bandwidth_percent",
        "HBM Bandwidth Usage Rate(%)": "hbm_bandwidth_percent",
        "NPU Utilization(%)": "npu_percent",
    }
)


def parse_usages(text: str) -> NpuUsages:
    """``npu-smi info -t usages -i N``. Never raises."""
    read = blocks(text, "usage", _USAGES)
    chips, problems = _chips(read, _USAGES, ChipUsages)
    return NpuUsages(read.npu, chips, problems)


@dataclass(frozen=True, slots=True)
class ChipMemory:
    """Capacities in MB, clocks in MHz, degrees Celsius."""

    chip: int | None = None
    ddr_total_mb: int | None = None
    ddr_mb: int | None = None
    ddr_clock_mhz: int | None = None
    hbm_mb: int | None = None
    hbm_clock_mhz: int | None = None
    hbm_temp_c: int | None = None
    hbm_manufacturer: str | None = None
    other: Pairs = ()


@dataclass(frozen=True, slots=True)
class NpuMemory:
    """``npu-smi info -t memory``."""

    npu: int | None = None
    chips: tuple[ChipMemory, ...] = ()
    problems: tuple[str, ...] = ()


_MEMORY: Spec = {
    **integers(
        {
            "Total DDR Capacity(MB)": "ddr_total_mb",
            "DDR Capacity(MB)": "ddr_mb",
            "DDR Clock Speed(MHz)": "ddr_clock_mhz",
            "HBM Capacity(MB)": "hbm_mb",
            "HBM Clock Speed(MHz)": "hbm_clock_mhz",
            "HBM Temperature(C)": "hbm_temp_c",
        }
    ),
    **words({"HBM Manufacturer ID": "hbm_manufacturer"}),
}


def parse_memory(text: str) -> NpuMemory:
    """``npu-smi info -t memory -i N``. Never raises."""
    read = blocks(text, "memory", _MEMORY)
    chips, problems = _chips(read, _MEMORY, ChipMemory)
    return NpuMemory(read.npu, chips, problems)


@dataclass(frozen=True, slots=True)
class ChipReading:
    """``power_w`` in watts or ``temp_c`` in degrees Celsius; ``product`` the card's trade name."""

    chip: int | None = None
    power_w: float | None = None
    temp_c: int | None = None
    product: str | None = None
    other: Pairs = ()


@dataclass(frozen=True, slots=True)
class NpuReading:
    """``npu-smi info -t power``, ``temp`` or ``product``."""

    npu: int | None = None
    chips: tuple[ChipReading, ...] = ()
    controller_temp_c: int | None = None
    problems: tuple[str, ...] = ()


_POWER = decimals({"NPU Real-time Power(W)": "power_w"})
_TEMP = integers({"NPU Temperature (C)": "temp_c", "Temperature(C)": "temp_c"})
_PRODUCT = words({"Product Type": "product"})


def parse_power(text: str) -> NpuReading:
    """``npu-smi info -t power -i N``. Never raises."""
    return _reading(text, "power", _POWER)


def parse_temp(text: str) -> NpuReading:
    """``npu-smi info -t temp -i N``. Never raises."""
    return _reading(text, "temperature", _TEMP)


def parse_product(text: str) -> NpuReading:
    """``npu-smi info -t product -i N``: PCIe cards know it, A2 and A3 servers refuse. Never raises."""
    return _reading(text, "product", _PRODUCT)


def _reading(text: str, what: str, spec: Spec) -> NpuReading:
    read = blocks(text, what, spec)
    chips, problems = _chips(read, spec, ChipReading)
    return NpuReading(read.npu, chips, _controller_degrees(read, spec), problems)


# ---- types that are one set of keys


def _single(text: str, what: str, spec: Spec) -> tuple[dict[str, object], Pairs, tuple[str, ...]]:
    found, other, said = values(Block(None, tuple(pair for pair in fields(text) if pair[0])), spec)
    missing = [] if found else [f"no {what} in the output"]
    return found, other, (*complaints(text), *cut_off(text), *said, *missing)


@dataclass(frozen=True, slots=True)
class SuperPod:
    """``npu-smi info -t spod-info -i N -c M`` (A3): the die's id in its super pod, the pod and the server's place."""

    sdid: int | None = None
    size: int | None = None
    pod: int | None = None
    server_index: int | None = None
    other: Pairs = ()
    problems: tuple[str, ...] = ()


_SUPER_POD = integers({"SDID": "sdid", "Super Pod Size": "size", "Super Pod ID": "pod", "Server Index": "server_index"})


def parse_super_pod(text: str) -> SuperPod:
    """``npu-smi info -t spod-info``. Never raises."""
    found, other, problems = _single(text, "super pod", _SUPER_POD)
    pod: Callable[..., SuperPod] = SuperPod
    return pod(**found, other=other, problems=problems)


@dataclass(frozen=True, slots=True)
class NpuSetting:
    """One word: the mode of virtual NPUs (``docker``, ``vm``), or the version of the controller's firmware."""

    value: str | None = None
    other: Pairs = ()
    problems: tuple[str, ...] = ()


_SETTINGS = {"virtual NPU mode": words({"vnpu-mode": "value"}), "version": words({"Version": "value"})}


def parse_vnpu_mode(text: str) -> NpuSetting:
    """``npu-smi info -t vnpu-mode``. Never raises."""
    return _setting(text, "virtual NPU mode")


def parse_controller_version(text: str) -> NpuSetting:
    """``npu-smi upgrade -b mcu -i N``. Never raises."""
    return _setting(text, "version")


def _setting(text: str, what: str) -> NpuSetting:
    found, other, problems = _single(text, what, _SETTINGS[what])
    return NpuSetting(known(str(found.get("value") or "")), other, problems)


# ---- processes


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """A process that holds memory of a chip, in MB."""

    pid: int
    name: str = ""
    memory_mb: int | None = None
    chip: int | None = None


@dataclass(frozen=True, slots=True)
class NpuProcessMemory:
    """``npu-smi info -t proc-mem``. ``idle``: it says that there is no process."""

    npu: int | None = None
    processes: tuple[ProcessMemory, ...] = ()
    idle: bool = False
    problems: tuple[str, ...] = ()


_PROCESS = re.compile(
    r"Process\s+id\s*:\s*([0-9]{1,18})\s+Process\s+name\s*:(.*?)\s*Process\s+memory\s*\(MB\)\s*:\s*([0-9]{1,18})\s*$"
)


def parse_process_memory(text: str) -> NpuProcessMemory:
    """``npu-smi info -t proc-mem -i N``: a line a process, with names that may be empty or hold blanks. Never raises.

    ``Chip ID`` stands after the processes of its chip; before them where it comes first.
    """
    npu: int | None = None
    rows: list[ProcessMemory] = []
    leading: int | None = None
    idle, problems = False, [*complaints(text), *cut_off(text)]
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if match := _PROCESS.search(line):
            rows.append(ProcessMemory(int(match[1]), match[2].strip(), int(match[3]), leading))
        elif plain(key).startswith("processid"):
            problems.append(f"not understood: {' '.join(line.split())[:60]!r}")
        elif "No process in device" in line:
            idle = True
        elif plain(key) == "npuid":
            npu = integer(value)
        elif plain(key) == "chipid":
            rows, leading = _named(rows, leading, integer(value), first=not (rows or idle))
    if not (rows or idle):
        problems.append("no process in the output, nor that there is none")
    return NpuProcessMemory(npu, tuple(rows), idle, tuple(problems))


def _named(
    rows: list[ProcessMemory], leading: int | None, chip: int | None, *, first: bool
) -> tuple[list[ProcessMemory], int | None]:
    """The rows with their chip, and the chip of the rows to come where its number leads."""
    if first or leading is not None:
        return rows, chip
    return [ProcessMemory(r.pid, r.name, r.memory_mb, chip if r.chip is None else r.chip) for r in rows], None
