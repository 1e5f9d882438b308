"""What ``npu-smi`` prints, as values: pure parsers over text, no command and no node in sight.

Nothing here relies on columns: widths differ by version (92 to 116), rows are ragged, ids have gaps, rows are cut off
or missing. Each row is recognised by what its cells hold; a cell that no ``|`` closes may be cut and isn't believed.
What could not be read is said in ``problems``, so nobody has to trust a row count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from provision.accel.ascend.text import complaints, decimal, fields, integer, known

HEALTHS = ("OK", "Warning", "Alarm", "Critical", "UNKNOWN")
"""Every health word of the tool; the worst active alarm decides [hicann/driver, npu-smi]."""


@dataclass(frozen=True, slots=True)
class Die:
    """One die: one ``/dev/davinciN``, one rank. Two rows of ``npu-smi info``.

    ``npu`` is the card id (``npu-smi -i``), ``chip`` the die on the card (``-c``), ``phy_id`` the number that A3 and
    ``hccn_tool`` use. ``health`` is OK, Warning, Alarm, Critical or UNKNOWN; None where the row that holds it is
    missing or unreadable. Power in watts, temperature in degrees Celsius, memory in MB. ``device`` is the davinci
    number as far as the table tells it. What the tool doesn't print (``-``, ``NA``) is None.
    """

    npu: int | None
    chip: int | None
    phy_id: int | None = None
    name: str = ""
    health: str | None = None
    power_w: float | None = None
    temp_c: int | None = None
    bus_id: str | None = None
    aicore_percent: int | None = None
    memory_used_mb: int | None = None
    memory_total_mb: int | None = None
    hbm_used_mb: int | None = None
    hbm_total_mb: int | None = None
    device: int | None = None
    hugepages_used: int | None = None
    hugepages_total: int | None = None

    @property
    def label(self) -> str:
        """How a finding names this die."""
        number = "?" if self.npu is None else self.npu
        return f"NPU {number}" + (f" chip {self.chip}" if self.chip is not None else "")


@dataclass(frozen=True, slots=True)
class NpuProcess:
    """A row of the process table. ``name`` is cut by the tool to about 13 characters, empty in some containers.

    ``container_pid`` is the pid inside its container (26.x only).
    """

    npu: int
    chip: int
    pid: int
    name: str = ""
    memory_mb: int | None = None
    container_pid: int | None = None


@dataclass(frozen=True, slots=True)
class NpuSmiInfo:
    """``npu-smi info``. ``problems`` are sentences about what was missing, cut off or refused."""

    tool_version: str | None = None
    driver_version: str | None = None
    dies: tuple[Die, ...] = ()
    processes: tuple[NpuProcess, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MappedChip:
    """A row of ``npu-smi info -m`` that is a die. ``device`` is the davinci number: phy id, else logic id."""

    npu: int
    chip: int
    logic_id: int | None = None
    phy_id: int | None = None
    name: str = ""

    @property
    def device(self) -> int | None:
        return self.phy_id if self.phy_id is not None else self.logic_id


@dataclass(frozen=True, slots=True)
class NpuMapping:
    """``npu-smi info -m``; management controllers (Mcu rows) are left out and counted."""

    chips: tuple[MappedChip, ...] = ()
    controllers: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListedCard:
    """A card of ``npu-smi info -l``; product and serial on PCIe cards only."""

    npu: int
    chips: int | None = None
    product: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class NpuList:
    """``npu-smi info -l``. ``total`` is the tool's own count."""

    total: int | None = None
    cards: tuple[ListedCard, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChipHealth:
    """Health of one chip; ``chip`` is None where the query named it. ``codes`` are hex words, one text each at best."""

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


@dataclass(frozen=True, slots=True)
class NpuBoard:
    """``npu-smi info -t board``, of a card or (with ``-c``) of a chip.

    ``soc`` is the chip's name as images and CANN know it, lower case (ascend910b4, ascend910_9392), None where this
    output alone can't tell it. ``firmware_fits``: ``Compatibility`` says that driver and firmware fit each other.
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
    firmware_fits: bool | None = None
    bus_id: str | None = None
    pci_device: str | None = None
    chips: int | None = None
    problems: tuple[str, ...] = ()


def parse_info(text: str) -> NpuSmiInfo:
    """``npu-smi info`` of any version, whole or in part. Never raises."""
    table = _Table()
    for line in text.splitlines():
        table.read(line.strip())
    table.close()
    return NpuSmiInfo(
        table.tool_version,
        table.driver_version,
        tuple(table.dies),
        tuple(table.processes),
        (*complaints(text), *table.problems),
    )


@dataclass(slots=True)
class _Table:
    """The state of reading: the die whose second row is awaited, the card it's on, and what has been found."""

    tool_version: str | None = None
    driver_version: str | None = None
    dies: list[Die] = field(default_factory=list)
    processes: list[NpuProcess] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    half: Die | None = None
    card: list[int] = field(default_factory=list)
    second_id: str = ""
    has_hbm: bool | None = None
    process_table: bool = False
    idle: int = 0

    def read(self, line: str) -> None:
        """Take in one line of output, whatever it is."""
        if line.startswith("+") and "==" in line:
            self.end_card()
        elif line.startswith("|"):
            self.read_row(line)

    def read_row(self, line: str) -> None:
        cells, cut = _cells(line)
        if cut:
            self.problems.append(f"the row is cut off: {_short(line)}")
        if title := re.search(r"npu-smi\s+(\S+)\s+Version:\s*([^\s|]+)", line):
            self.tool_version, self.driver_version = title[1], title[2]
        elif "No running processes found" in line:
            self.end_card()
            self.idle += 1
        elif _is_header(cells):
            self.read_header(line)
        elif process := _process(cells):
            self.processes.append(process)
        elif first := _first_row(cells):
            self.end_die()
            self.half = first
        elif _is_second_row(cells):
            self.read_second(cells)
        elif not cut:
            self.problems.append(f"not understood: {_short(line)}")

    def read_header(self, line: str) -> None:
        """Column titles tell what the second number of a die's second row is, and whether there is HBM."""
        if "Bus-Id" in line:
            self.second_id = "phy" if "Phy-ID" in line else "device" if "Device" in line else "none"
            self.has_hbm = "HBM" in line
        elif "Process" in line:
            self.end_card()
            self.process_table = True

    def read_second(self, cells: Sequence[str]) -> None:
        ids = [number for number in map(integer, cells[0].split()) if number is not None]
        half = self.half or Die(None, None)
        if self.half is None:
            chip = f"chip {ids[0]}" if ids else "a chip"
            self.problems.append(f"{chip} at bus {_bus(cells)}: its first row is missing, so its health is unknown")
        die = replace(half, chip=ids[0] if ids else 0, bus_id=known(_bus(cells)))
        die = self.with_usage(self.with_device(die, ids[1] if len(ids) > 1 else None), cells)
        self.half = None
        self.keep(die)

    def with_device(self, die: Die, second: int | None) -> Die:
        """Phy-ID on A3 and Device on 310 are the davinci number; A2 and 950 have the card's id for it."""
        if second is None:
            return replace(die, device=die.npu)
        is_phy = self.second_id == "phy" or (not self.second_id and die.name.startswith("Ascend910"))
        return replace(die, device=second, phy_id=second if is_phy else None)

    def with_usage(self, die: Die, cells: Sequence[str]) -> Die:
        """AICore %, memory and, where there is such a column, HBM."""
        rest = "|".join(cells[_bus_index(cells) + 1 :])
        pairs = _pairs(rest)
        die = replace(die, aicore_percent=integer(_before_pairs(rest)))
        if len(pairs) >= 2:
            die = replace(die, hbm_used_mb=pairs[1][0], hbm_total_mb=pairs[1][1])
        if pairs and (len(pairs) >= 2 or not self.has_hbm):
            return replace(die, memory_used_mb=pairs[0][0], memory_total_mb=pairs[0][1])
        self.problems.append(f"{die.label}: its memory could not be read")
        return die

    def keep(self, die: Die) -> None:
        if die.npu is not None and any((die.npu, die.chip) == (d.npu, d.chip) for d in self.dies):
            self.problems.append(f"{die.label} is listed twice; the first listing counts")
            return
        self.card.append(len(self.dies))
        self.dies.append(die)

    def end_die(self) -> None:
        """A first row that no second one followed."""
        if self.half is not None:
            self.problems.append(f"{self.half.label}: its second row is missing")
            self.keep(self.half)
            self.half = None

    def end_card(self) -> None:
        """Between double rules stand the dies of one card: one that lost its id to a missing row gets it from them."""
        self.end_die()
        numbers = {self.dies[i].npu for i in self.card} - {None}
        if len(numbers) == 1:
            number = numbers.pop()
            for i in self.card:
                self.dies[i] = replace(self.dies[i], npu=number)
        self.card = []

    def close(self) -> None:
        self.end_card()
        if not self.dies:
            self.problems.append("no NPU in the output")
        elif not (self.processes or self.idle):
            state = "cut off" if self.process_table else "missing"
            self.problems.append(f"the process table is {state}: who uses the NPUs is unknown")
        for die in self.dies:
            if die.health is None and die.npu is not None:
                self.problems.append(f"{die.label}: its health could not be read")


def _cells(line: str) -> tuple[list[str], bool]:
    """The closed cells of a row, and whether one more was cut off."""
    parts = line.split("|")[1:]
    last = parts.pop() if parts else ""
    return [part.strip() for part in parts], bool(last.strip()) or not parts


def _short(line: str) -> str:
    return repr(re.sub(r"\s+", " ", line)[:60])


def _is_header(cells: Sequence[str]) -> bool:
    return any(word in cell for cell in cells for word in ("Health", "Bus-Id", "Process id", "Power(W)"))


def _process(cells: Sequence[str]) -> NpuProcess | None:
    """``NPU [chip] | pid | name | memory [| pid in container]``: the only row with a bare number in second place."""
    ids = [integer(word) for word in cells[0].split()] if cells else []
    pid = integer(cells[1]) if len(cells) > 1 else None
    if pid is None or pid < 0 or not ids or ids[0] is None or len(ids) > 2:
        return None
    cell = dict(enumerate(cells))
    return NpuProcess(
        npu=ids[0],
        chip=(ids[1] or 0) if len(ids) > 1 else 0,
        pid=pid,
        name=cell.get(2, ""),
        memory_mb=integer(cell.get(3, "")),
        container_pid=integer(cell.get(4, "")),
    )


def _first_row(cells: Sequence[str]) -> Die | None:
    """``NPU name | health | power temperature hugepages``; on 950 the name has a cell of its own."""
    words = cells[0].split() if cells else []
    if not words or integer(words[0]) is None or (len(words) == 1 and len(cells) < 3):
        return None
    own_cell = len(words) == 1
    name, at = (cells[1], 2) if own_cell else (" ".join(words[1:]), 1)
    health = cells[at] if len(cells) > at else None
    if _second_like(words, health) or (own_cell and health not in HEALTHS):
        return None
    rest = "|".join(cells[at + 1 :])
    power, temperature = [*_before_pairs(rest).split(), "", ""][:2]
    used, total = _pairs(rest)[0] if _pairs(rest) else (None, None)
    return Die(
        npu=integer(words[0]),
        chip=None,
        name=name,
        health=health if health in HEALTHS else None,
        power_w=decimal(power),
        temp_c=integer(temperature),
        hugepages_used=used,
        hugepages_total=total,
    )


def _second_like(words: Sequence[str], health: str | None) -> bool:
    """Two numbers in the first cell are chip and device, unless a health follows (a card can be named ``310``)."""
    return all(integer(word) is not None for word in words) and len(words) == 2 and health not in HEALTHS


def _is_second_row(cells: Sequence[str]) -> bool:
    words = cells[0].split() if cells else [""]
    numbers = len(words) <= 2 and all(integer(word) is not None for word in words)
    return numbers and bool(re.fullmatch(r"[\w*?.]+:[\w*?]+:[\w*?]+\.[\w*?]+|NA|-", _bus(cells)))


def _bus_index(cells: Sequence[str]) -> int:
    """Where the Bus-Id stands: second, or third on 950, whose first two cells are empty there."""
    return 2 if len(cells) > 2 and not cells[0] and not cells[1] else 1


def _bus(cells: Sequence[str]) -> str:
    at = _bus_index(cells)
    return cells[at] if len(cells) > at else ""


def _pairs(text: str) -> list[tuple[int, int]]:
    """``used / total`` pairs; with five digits there is no space: ``59784/ 65536``."""
    return [(int(a), int(b)) for a, b in re.findall(r"([0-9]{1,18})\s*/\s*([0-9]{1,18})", text)]


def _before_pairs(text: str) -> str:
    return re.split(r"[0-9]+\s*/", text, maxsplit=1)[0].strip()


def parse_mapping(text: str) -> NpuMapping:
    """``npu-smi info -m``: four columns with a space in the name (A2), or five with Chip Phy-ID (A3). Never raises."""
    chips: list[MappedChip] = []
    controllers = 0
    problems = list(complaints(text))
    has_phy = "Phy-ID" in text
    for line in text.splitlines():
        words = line.split()
        numbers = [integer(word) for word in words[: 4 if has_phy else 3]]
        if len(words) < 2 or numbers[0] is None:
            continue
        if words[-1].lower() == "mcu":
            controllers += 1
        elif (chip := _mapped(words, numbers)) is not None:
            chips.append(chip)
        else:
            problems.append(f"not understood: {_short(line)}")
    if not chips:
        problems.append("no NPU in the output")
    return NpuMapping(tuple(chips), controllers, tuple(problems))


def _mapped(words: Sequence[str], numbers: Sequence[int | None]) -> MappedChip | None:
    name = " ".join(words[len(numbers) :])
    if len(numbers) < 3 or not name or numbers[0] is None or numbers[1] is None:
        return None
    return MappedChip(numbers[0], numbers[1], numbers[2], numbers[3] if len(numbers) > 3 else None, name)


def parse_list(text: str) -> NpuList:
    """``npu-smi info -l``: ``Total Count`` (310: ``Card Count``), then each card. Never raises."""
    total: int | None = None
    cards: list[ListedCard] = []
    for key, value in fields(text):
        if key in ("Total Count", "Card Count"):
            total = integer(value)
        elif key == "NPU ID" and (npu := integer(value)) is not None:
            cards.append(ListedCard(npu))
        elif cards:
            cards[-1] = _listed(cards[-1], key, value)
    problems = list(complaints(text))
    if total != len(cards):
        problems.append(f"{len(cards)} cards listed, {'no' if total is None else total} in the total")
    return NpuList(total, tuple(cards), tuple(problems))


def _listed(card: ListedCard, key: str, value: str) -> ListedCard:
    if key == "Chip Count":
        return replace(card, chips=integer(value))
    if key == "Product Name":
        return replace(card, product=known(value))
    return replace(card, serial=known(value)) if key == "Serial Number" else card


def parse_health(text: str) -> NpuHealth:
    """``npu-smi info -t health``, with ``-c`` (codes) or without (a section a chip, then the controller). Never raises.

    ``Chip ID`` ends its section here; 950 calls the key ``Health`` where others say ``Health Status``.
    """
    health = NpuHealth(problems=complaints(text))
    section: list[tuple[str, str]] = []
    for key, value in [*fields(text), ("Chip ID", "")]:
        if key == "NPU ID":
            health = replace(health, npu=integer(value))
        elif key == "Chip Name" and value.upper() == "MCU":
            health = replace(health, controller=_health_of(section))
            section = []
        elif key == "Chip ID":
            health = replace(health, chips=(*health.chips, *_chip_health(section, integer(value))))
            section = []
        else:
            section.append((key, value))
    return health if health.chips else replace(health, problems=(*health.problems, "no health in the output"))


def _health_of(section: Iterable[tuple[str, str]]) -> str | None:
    found = next((value for key, value in section if key in ("Health", "Health Status")), None)
    return found if found in HEALTHS else None


def _chip_health(section: Sequence[tuple[str, str]], chip: int | None) -> list[ChipHealth]:
    if not any(key in ("Health", "Health Status") for key, _ in section):
        return []
    codes = next((value for key, value in section if key == "Error Code"), "")
    texts = [known(value) for key, value in section if key in ("Error Information", "")]
    found = [code for code in codes.split() if known(code)]
    return [ChipHealth(_health_of(section), chip, tuple(found), tuple(text for text in texts if text))]


def parse_board(text: str) -> NpuBoard:
    """``npu-smi info -t board -i N [-c M]``. Never raises."""
    said: dict[str, str] = {}
    for key, value in fields(text):
        said.setdefault(key, value)
    problems = list(complaints(text))
    if not said:
        problems.append("no board in the output")
    fits = known(said.get("Compatibility", ""))
    return NpuBoard(
        npu=integer(said.get("NPU ID", "")),
        chip=integer(said.get("Chip ID", "")),
        npu_name=known(said.get("NPU Name", "")),
        chip_name=known(said.get("Chip Name", "")),
        chip_type=known(said.get("Chip Type", "")),
        soc=_soc(said),
        product=known(said.get("Product Name", "")),
        serial=known(said.get("Serial Number", "")),
        software_version=known(said.get("Software Version", "")),
        firmware_version=known(said.get("Firmware Version", "")),
        firmware_fits=None if fits is None else fits == "OK",
        bus_id=known(said.get("PCIe Bus Info", "")),
        pci_device=known(said.get("PCI Device ID", "")),
        chips=integer(said.get("Chip Count", "")),
        problems=tuple(problems),
    )


def _soc(said: dict[str, str]) -> str | None:
    """A2: chip type and name joined; A3: chip name, ``_``, NPU name [domain.md 1.3]."""
    chip, npu = known(said.get("Chip Name", "")), known(said.get("NPU Name", ""))
    if chip is None:
        return None
    if npu is not None and chip.endswith("910"):
        return f"{chip}_{npu}".lower()
    kind = known(said.get("Chip Type", ""))
    return f"{kind}{chip}".lower() if kind else chip.lower() if chip.startswith("Ascend") else None
