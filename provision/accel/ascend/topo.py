"""Links inside a node, as npu-smi shows them: ``info -t topo`` (which die reaches which how) and ``info -t hccs``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from provision.accel.ascend.blocks import Block, Pairs, Spec, plain, values, words
from provision.accel.ascend.text import complaints, cut_off, fields, integer, known

LINKS = ("X", "SYS", "PHB", "PIX", "PXB", "HCCS", "HCCS_SW", "SIO", "UB", "NA")
"""Every word of the legends [samples/npu; 950 npu-smi, -t topo]. ``X`` is the die itself, ``NA`` is unknown."""


@dataclass(frozen=True, slots=True)
class TopologyRow:
    """A device (``NPU3``, ``Phy-ID12``, a NIC): ``links`` go with the table's ``columns``, ``affinity`` are CPUs."""

    name: str
    links: tuple[str, ...] = ()
    affinity: str | None = None


@dataclass(frozen=True, slots=True)
class NpuTopology:
    """``npu-smi info -t topo``."""

    columns: tuple[str, ...] = ()
    rows: tuple[TopologyRow, ...] = ()
    problems: tuple[str, ...] = ()

    def link(self, one: str, other: str) -> str | None:
        """How ``one`` reaches ``other``; None where the table doesn't say."""
        row = next((row for row in self.rows if row.name == one), None)
        return dict(zip(self.columns, row.links, strict=False)).get(other) if row else None


_DEVICE = re.compile(r"(?:NPU|Phy-ID|NIC)[0-9]{1,5}")


def parse_topology(text: str) -> NpuTopology:
    """``npu-smi info -t topo``: A2 with CPU affinity, A3 by Phy-ID; the legend is no data. Never raises."""
    columns: tuple[str, ...] = ()
    rows: list[TopologyRow] = []
    problems = [*complaints(text), *cut_off(text)]
    for line in text.splitlines():
        cells = line.replace("CPU Affinity", "").split()
        if not columns and cells and all(_DEVICE.fullmatch(cell) for cell in cells):
            columns = tuple(cells)
        elif columns and cells and _DEVICE.fullmatch(cells[0]):
            row = _row(cells, len(columns))
            problems += _row_problems(row, columns, rows)
            rows.append(row)
    if not columns:
        problems.append("no topology in the output")
    lost = [name for name in columns if name not in {row.name for row in rows}]
    problems += [f"{name} has no row" for name in lost]
    return NpuTopology(columns, tuple(rows), tuple(problems))


def _row(cells: Sequence[str], width: int) -> TopologyRow:
    rest = "".join(cells[1 + width :])
    return TopologyRow(cells[0], tuple(cells[1 : 1 + width]), known(rest))


def _row_problems(row: TopologyRow, columns: Sequence[str], before: Iterable[TopologyRow]) -> Iterable[str]:
    if len(row.links) < len(columns):
        yield f"{row.name}: {len(row.links)} of {len(columns)} links are shown"
    strange = sorted(set(row.links) - set(LINKS))
    if strange:
        yield f"{row.name}: unknown links {', '.join(word[:20] for word in strange)}"
    if any(other.name == row.name for other in before):
        yield f"{row.name} is listed twice"


@dataclass(frozen=True, slots=True)
class HccsLinks:
    """``npu-smi info -t hccs -i N -c M``. ``health`` is OK or NOK; the lists go by link.

    ``lanes`` are bits (1 is active), ``speed`` as printed; packets, bytes, ``retries`` and ``errors`` are counters.
    """

    health: str | None = None
    lane_mode: tuple[int, ...] = ()
    lanes: tuple[str, ...] = ()
    speed: tuple[int, ...] = ()
    tx_packets: tuple[int, ...] = ()
    tx_bytes: tuple[int, ...] = ()
    rx_packets: tuple[int, ...] = ()
    rx_bytes: tuple[int, ...] = ()
    retries: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    other: Pairs = ()
    problems: tuple[str, ...] = ()


def _items(text: str) -> tuple[str, ...] | None:
    """The items of ``[a b c]``; a list without its end is not to be believed. ``...`` stands for what was left out."""
    inside = re.fullmatch(r"`?\[([^\]]*)\]`?", text.strip())
    return tuple(item for item in inside[1].split() if item != "...") if inside else None


def _numbers(text: str) -> tuple[int, ...] | None:
    numbers = [integer(item) for item in _items(text) or ()]
    whole = tuple(number for number in numbers if number is not None)
    return whole if _items(text) is not None and len(whole) == len(numbers) else None


_HCCS: Spec = {
    **words({"hccs health status": "health"}),
    plain("hccs link lane list"): ("lanes", _items),
    **{
        plain(f"hccs {key}"): (name, _numbers)
        for key, name in {
            "lane mode": "lane_mode",
            "link speed": "speed",
            "tx packets": "tx_packets",
            "tx bytes": "tx_bytes",
            "rx packets": "rx_packets",
            "rx bytes": "rx_bytes",
            "retry count": "retries",
            "error count": "errors",
        }.items()
    },
}


def parse_hccs(text: str) -> HccsLinks:
    """``npu-smi info -t hccs``: lists in brackets, also where somebody made a Markdown table of them. Never raises."""
    pairs = [*(pair for pair in fields(text) if pair[0]), *_table_rows(text)]
    found, other, said = values(Block(None, tuple(pairs)), _HCCS)
    problems = [*complaints(text), *cut_off(text), *said]
    problems += [f"{key}: its list is cut short" for key, value in pairs if "..." in value]
    if not found:
        problems.append("no HCCS links in the output")
    if found.get("health") not in ("OK", None):
        problems.append(f"hccs health status is {found['health']}")
    links: Callable[..., HccsLinks] = HccsLinks
    return links(**{k: v for k, v in found.items() if v is not None}, other=other, problems=tuple(problems))


def _table_rows(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and not cells[0] and cells[1].startswith("hccs "):
            yield cells[1], cells[2]
