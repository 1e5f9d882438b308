"""The tables of ``npu-smi`` (``info``, ``info -m``, ``info -l``, ``info watch``) as values: pure parsers over text.

Nothing here relies on columns: widths differ by version (92 to 116), rows are ragged, ids have gaps, rows are cut off
or missing. Each row is recognised by what its cells hold; a cell that no ``|`` closes may be cut and isn't believed.
What could not be read, what is missing and what is no ``OK`` is said in ``problems``, so nobody has to trust a row
count. The ``-t`` outputs are read in ``npu_smi_sections.py``, topology and HCCS in ``topo.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from provision.accel.ascend.text import complaints, cut_off, decimal, fields, integer, known

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
    """``npu-smi info``. ``problems`` are sentences about what was missing, cut off, refused or not healthy."""

    tool_version: str | None = None
    driver_version: str | None = None
    dies: tuple[Die, ...] = ()
    processes: tuple[NpuProcess, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MappedChip:
    """A row of ``npu-smi info -m`` that is a die. ``slot`` is printed on 950 only."""

    npu: int
    chip: int
    logic_id: int | None = None
    phy_id: int | None = None
    name: str = ""
    slot: int | None = None

    @property
    def device(self) -> int | None:
        """The davinci number: phy id, else logic id."""
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
    idle: set[int | None] = field(default_factory=set)

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
        elif idle := re.search(r"No running processes found(?: in NPU\s+([0-9]{1,18})\b)?", line):
            self.end_card()
            self.idle.add(None if idle[1] is None else int(idle[1]))
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
        """Say what the rows together don't tell."""
        self.end_card()
        if not self.dies:
            self.problems.append("no NPU in the output")
        for die in self.dies:
            if die.health is None and die.npu is not None:
                self.problems.append(f"{die.label}: its health could not be read")
            elif die.health not in ("OK", None):
                self.problems.append(f"{die.label}: its health is {die.health}")
        self.problems += _uneven(self.dies)
        if self.dies:
            self.problems += self.unknown_use()

    def unknown_use(self) -> Iterable[str]:
        """The process table names every card: by its processes, or as idle. One it doesn't name may be cut off; one
        that has no die in the table above has lost it."""
        if not (self.processes or self.idle):
            state = "cut off" if self.process_table else "missing"
            yield f"the process table is {state}: who uses the NPUs is unknown"
            return
        cards = {die.npu for die in self.dies}
        told = {process.npu for process in self.processes} | self.idle
        for npu in sorted(n for n in told - cards if n is not None):
            yield f"NPU {npu}: the process table names it, but it is missing above"
        for npu in sorted(n for n in cards - told if n is not None and None not in told):
            yield f"NPU {npu}: the process table doesn't name it: who uses it is unknown"


def _uneven(dies: Sequence[Die]) -> list[str]:
    """Cards of a server are alike: one with fewer dies than the others has lost some."""
    counts = Counter(die.npu for die in dies if die.npu is not None)
    most = max(counts.values(), default=0)
    return [f"NPU {npu}: {count} of {most} dies are shown" for npu, count in counts.items() if count < most]


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


_COLUMNS = {"NPU ID": "npu", "Slot ID": "slot", "Chip ID": "chip", "Chip Logic ID": "logic_id", "Chip Phy-ID": "phy_id"}
_A2_COLUMNS, _A3_COLUMNS = ("npu", "chip", "logic_id"), ("npu", "chip", "logic_id", "phy_id")


def parse_mapping(text: str) -> NpuMapping:
    """``npu-smi info -m``: A2 has four columns, A3 five with Chip Phy-ID, 950 five with Slot ID and Chip Phy-ID.

    A name may hold a space. Without its title row a table is read by how many numbers its rows have. Never raises.
    """
    chips: list[MappedChip] = []
    controllers = 0
    columns: tuple[str, ...] = ()
    problems = [*complaints(text), *cut_off(text)]
    for line in text.splitlines():
        words = line.split()
        if "NPU ID" in line and "Chip" in line:
            columns = tuple(_COLUMNS[title] for title in re.findall("|".join(_COLUMNS), line))
        elif len(words) < 2 or integer(words[0]) is None:
            continue
        elif words[-1].lower() == "mcu":
            controllers += 1
        elif isinstance(chip := _mapped(line, columns), MappedChip):
            chips.append(chip)
        else:
            problems.append(chip)
    if not chips:
        problems.append("no NPU in the output")
    twice = [place for place, count in Counter((c.npu, c.chip) for c in chips).items() if count > 1]
    problems += [f"NPU {npu} chip {chip} is listed twice" for npu, chip in twice]
    return NpuMapping(tuple(chips), controllers, tuple(problems))


def _mapped(line: str, columns: Sequence[str]) -> MappedChip | str:
    """A row as a chip, or why it is none. ``NPU ID -1`` stands for an NPU that can't be used [950 npu-smi, -m]."""
    words = line.split()
    if words[0] == "-1":
        return f"an NPU is unavailable: {_short(line)}"
    numbers = [integer(word) for word in words]
    leading = numbers.index(None) if None in numbers else len(numbers)
    columns = columns or (_A3_COLUMNS if leading == len(_A3_COLUMNS) else _A2_COLUMNS)
    ids = dict(zip(columns, numbers, strict=False))
    name = " ".join(words[len(columns) :])
    npu, chip = ids.get("npu"), ids.get("chip")
    if leading < len(columns) or not name or npu is None or chip is None:
        return f"not understood: {_short(line)}"
    return MappedChip(npu, chip, ids.get("logic_id"), ids.get("phy_id"), name, ids.get("slot"))


def missing_dies(dies: Iterable[Die], chips: Iterable[MappedChip]) -> tuple[MappedChip, ...]:
    """The chips of ``info -m`` that the table of ``info`` doesn't show: npu-smi leaves out the first row of a die whose
    health it can't read, and a dead card loses both rows [samples/npu FIELDS, Health]."""
    shown = {(die.npu, die.chip) for die in dies}
    return tuple(chip for chip in chips if (chip.npu, chip.chip) not in shown)


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
    problems = [*complaints(text), *cut_off(text)]
    if total != len(cards):
        problems.append(f"{len(cards)} cards listed, {'no' if total is None else total} in the total")
    return NpuList(total, tuple(cards), tuple(problems))


def _listed(card: ListedCard, key: str, value: str) -> ListedCard:
    if key == "Chip Count":
        return replace(card, chips=integer(value))
    if key == "Product Name":
        return replace(card, product=known(value))
    return replace(card, serial=known(value)) if key == "Serial Number" else card


@dataclass(frozen=True, slots=True)
class WatchedChip:
    """A row of ``npu-smi info watch``: one chip at one moment. Shares in percent."""

    npu: int
    chip: int
    power_w: float | None = None
    temp_c: int | None = None
    aicore_percent: int | None = None
    aicpu_percent: int | None = None
    ctrlcpu_percent: int | None = None
    memory_percent: int | None = None
    bandwidth_percent: int | None = None


@dataclass(frozen=True, slots=True)
class NpuWatch:
    """``npu-smi info watch``: rows in the order in which they came."""

    rows: tuple[WatchedChip, ...] = ()
    problems: tuple[str, ...] = ()


_WATCHED = {
    "NpuID": "npu",
    "ChipId": "chip",
    "Pwr": "power_w",
    "Temp": "temp_c",
    "AI Core": "aicore_percent",
    "AI Cpu": "aicpu_percent",
    "Ctrl Cpu": "ctrlcpu_percent",
    "Memory": "memory_percent",
    "Memory BW": "bandwidth_percent",
}


def parse_watch(text: str) -> NpuWatch:
    """``npu-smi info watch``, with its title row in any order of columns. Never raises."""
    rows: list[WatchedChip] = []
    columns = list(_WATCHED.values())
    problems = [*complaints(text), *cut_off(text)]
    for line in text.splitlines():
        words = line.split()
        if "NpuID" in line:
            columns = [_WATCHED.get(title.strip(), "") for title in re.findall(r"([A-Za-z][A-Za-z ]*)\(", line)]
        elif words and integer(words[0]) is not None:
            row = _watched(words, columns)
            rows += [row] if row else []
            problems += [] if row else [f"not understood: {_short(line)}"]
    if not rows:
        problems.append("no NPU in the output")
    return NpuWatch(tuple(rows), tuple(problems))


def _watched(words: Sequence[str], columns: Sequence[str]) -> WatchedChip | None:
    cell = dict(zip(columns, words, strict=False))
    npu, chip = integer(cell.get("npu", "")), integer(cell.get("chip", ""))
    if npu is None or chip is None or len(words) != len(columns):
        return None
    shares = {name: integer(cell.get(name, "")) for name in _WATCHED.values() if name.endswith("_percent")}
    return WatchedChip(npu, chip, decimal(cell.get("power_w", "")), integer(cell.get("temp_c", "")), **shares)
