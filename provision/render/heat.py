"""Matrices as heat maps of characters: colour on a terminal, and marks that say the same where there is none.

A map fits its width: with a figure in each cell where there is room, with marks alone where there is less, in bands of
columns where even these don't fit. Of a map with more rows than a screen only those with trouble are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from provision.findings import Cell, Matrix
from provision.render.fold import fold
from provision.render.lines import Line, count, figure

MARKS = {"ok": ".", "slow": "~", "partial": "!", "lost": "X", "untried": "?", "self": "-"}
WORDS = {
    "ok": "well",
    "slow": "slow",
    "partial": "in part lost",
    "lost": "lost",
    "untried": "not tried",
    "self": "itself",
}
SHADES = 4
"""Steps of warmth among the cells that are well."""
MOST_ROWS = 32
"""More rows than that are not drawn in full."""

_INDENT = "  "
_LONGEST_NAME = 24
_SHORTEST_NAME = 12
_UNEVEN = 1.5
"""Figures that differ by less than this factor have one shade."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """How a map is drawn: the width of a cell, of the names before the rows, and the columns of a band."""

    cell: int
    name: int
    band: int


def heat_map(matrix: Matrix, width: int) -> Iterator[Line]:
    """A map with its title, legend and range. What is drawn is at most ``width`` wide (and at least 30)."""
    width = max(width, 30)
    reduced = len(matrix.rows) > MOST_ROWS
    shown = _troubled(matrix) if reduced else matrix
    yield Line("title", f"{matrix.title}: {in_words(matrix)}")
    yield from (Line("fail", f"{_INDENT}{text}") for text in dead_ends(matrix))
    if reduced:
        drawn = f"drawn: {len(shown.rows)} x {len(shown.columns)} with trouble"
        yield Line("note", _INDENT + (drawn if shown.rows else "not drawn: the rest is well"))
    if shown.rows and shown.columns:
        yield from _drawn(shown, width)
        yield from _legend(shown, width)


def dead_ends(matrix: Matrix) -> Iterator[str]:
    """In words: from where nothing comes through, and where to; where that holds of some, not of all. What comes in
    part is no dead end, and of what was never tried no more is said than that."""
    for word, names, lines in (("from", matrix.rows, matrix.cells), ("to", matrix.columns, _across(matrix))):
        dead = {name: _tried(cells) for name, cells in zip(names, lines, strict=True) if _dead(cells)}
        for tried, told in ((True, "nothing comes through"), (False, "nothing was tried")):
            if 0 < len(dead) < len(names) and tried in dead.values():
                yield f"{told} {word} {fold(name for name, was in dead.items() if was is tried)}"


def in_words(matrix: Matrix) -> str:
    """``238 of 240 well, 2 lost; 0.08 to 1.2 ms, median 0.1``: all pairs but those of a node with itself."""
    cells = [cell for row in matrix.cells for cell in row if cell.state != "self"]
    states = [cell.state for cell in cells]
    good = states.count("ok")
    parts = [f"{count(good, 'pair')} well" if good == len(states) else f"{good} of {len(states)} pairs well"]
    parts += [f"{states.count(state)} {WORDS[state]}" for state in MARKS if state != "ok" and state in states]
    return ", ".join(parts) + spread(matrix)


def spread(matrix: Matrix) -> str:
    """The range of the figures, or nothing where there are none."""
    values = _values(matrix)
    if not values:
        return ""
    low, high, middle = (figure(value) for value in (min(values), max(values), median(values)))
    return f"; {low} to {high} {matrix.unit}, median {middle}" if low != high else f"; {low} {matrix.unit}"


def shade(cell: Cell, low: float, high: float) -> str:
    """The colour of a cell: its state, and for one that is well how warm it is among the others."""
    if cell.state != "ok":
        return cell.state
    if cell.value is None or not uneven(low, high):
        return "heat0"
    return f"heat{min(int((cell.value - low) / (high - low) * SHADES), SHADES - 1)}"


def uneven(low: float, high: float) -> bool:
    """Whether figures in this range are worth shades."""
    return high > low and high >= low * _UNEVEN


def bounds(matrix: Matrix) -> tuple[float, float]:
    """The least and the greatest figure of the cells that are well; zeros where there are none."""
    values = [cell.value for row in matrix.cells for cell in row if cell.state == "ok" and cell.value is not None]
    return (min(values), max(values)) if values else (0.0, 0.0)


def _values(matrix: Matrix) -> list[float]:
    return [cell.value for row in matrix.cells for cell in row if cell.value is not None and cell.state != "self"]


def _troubled(matrix: Matrix) -> Matrix:
    """The rows and columns that have a cell that is not well, the first of them; without those where nothing is well,
    of which words tell."""
    across = _across(matrix)
    rows, columns = _marked(matrix.cells, across), _marked(across, matrix.cells)
    return replace(
        matrix,
        rows=tuple(matrix.rows[row] for row in rows),
        columns=tuple(matrix.columns[column] for column in columns),
        cells=tuple(tuple(matrix.cells[row][column] for column in columns) for row in rows),
    )


def _across(matrix: Matrix) -> tuple[tuple[Cell, ...], ...]:
    """The cells by column."""
    return tuple(zip(*matrix.cells, strict=True)) if matrix.rows else tuple(() for _ in matrix.columns)


def _marked(lines: Sequence[Sequence[Cell]], across: Sequence[Sequence[Cell]]) -> list[int]:
    """The numbers of the lines (rows or columns) that have an ill cell where neither line nor what crosses is dead."""
    alive = [number for number, cells in enumerate(across) if not _dead(cells)]
    marked = (n for n, cells in enumerate(lines) if not _dead(cells) and any(_ill(cells[place]) for place in alive))
    return list(marked)[:MOST_ROWS]


def _dead(cells: Sequence[Cell]) -> bool:
    """Whether several cells are all lost or not tried: of one alone no line speaks."""
    others = [cell for cell in cells if cell.state != "self"]
    return len(others) > 1 and all(cell.state in ("lost", "untried") for cell in others)


def _tried(cells: Sequence[Cell]) -> bool:
    return any(cell.state not in ("untried", "self") for cell in cells)


def _ill(cell: Cell) -> bool:
    return cell.state not in ("ok", "self")


def _drawn(matrix: Matrix, width: int) -> Iterator[Line]:
    same = matrix.rows == matrix.columns
    names = [f"{number:>2} {name}" for number, name in enumerate(matrix.rows, 1)] if same else list(matrix.rows)
    frame = _frame(matrix, max((len(name) for name in names), default=0), width)
    for first in range(0, len(matrix.columns), frame.band):
        columns = range(first, min(first + frame.band, len(matrix.columns)))
        yield from _heading(columns, frame)
        for name, row in zip(names, matrix.cells, strict=True):
            yield _row(name, [row[column] for column in columns], frame, bounds(matrix))
    if not same:
        yield from _column_names(matrix.columns, width)


def _frame(matrix: Matrix, longest: int, width: int) -> _Frame:
    """The widest cells with which all columns fit; bands of the narrowest where none do."""
    many = max(len(matrix.columns), 1)
    room = width - len(_INDENT) - 1
    least = min(longest, _SHORTEST_NAME)
    for cell in (4, 2, 1) if _values(matrix) else (2, 1):
        if cell * many <= room - least:
            return _Frame(cell, min(longest, _LONGEST_NAME, room - cell * many), many)
    return _Frame(1, least, room - least)


def _heading(columns: range, frame: _Frame) -> Iterator[Line]:
    """The numbers of the columns, written downwards where they are wider than a cell."""
    numbers = [str(column + 1) for column in columns]
    lead = _INDENT + " " * (frame.name + 1)
    longest = max((len(number) for number in numbers), default=0)
    if longest < frame.cell:
        yield Line("table", lead + "".join(f"{number:>{frame.cell - 1}} " for number in numbers).rstrip())
        return
    for digit in range(longest):
        column = [number.rjust(longest)[digit] for number in numbers]
        yield Line("table", lead + "".join(f"{mark:<{frame.cell}}" for mark in column).rstrip())


def _row(name: str, cells: Sequence[Cell], frame: _Frame, limits: tuple[float, float]) -> Line:
    text = f"{_INDENT}{_fitting(name, frame.name):<{frame.name}} "
    spans = []
    for cell in cells:
        spans.append((len(text), len(text) + frame.cell, shade(cell, *limits)))
        text += _cell(cell, frame.cell)
    return Line("table", text, tuple(spans))


def _cell(cell: Cell, width: int) -> str:
    """The figure and the mark; of a cell that is well the figure says enough."""
    mark = MARKS[cell.state]
    if width < 4:
        return f"{mark:<{width}}"
    if cell.value is None:
        return f"{mark:>{width - 1}} "
    return f"{_short(cell.value):>{width - 1}}{' ' if cell.state == 'ok' else mark}"


def _short(value: float) -> str:
    """A figure in three characters: ``.12``, ``1.2``, ``120``, ``12k``."""
    for factor, letter in ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        for digits in (2, 1, 0):
            text = f"{value / factor:.{digits}f}{letter}"
            text = text.removeprefix("0") if text.startswith("0.") else text
            if len(text) <= 3:
                return text
    return "big"


def _fitting(name: str, width: int) -> str:
    """A name cut in its middle: its end tells nodes apart."""
    if len(name) <= width:
        return name
    end = (width - 1) // 2
    return f"{name[: width - 1 - end]}…{name[-end:] if end else ''}"


def _column_names(columns: Sequence[str], width: int) -> Iterator[Line]:
    line = f"{_INDENT}columns"
    for number, name in enumerate(columns, 1):
        piece = f"  {number} {_fitting(name, width - 10)}"
        if len(line) + len(piece) > width and line.strip():
            yield Line("note", line)
            line = _INDENT
        line += piece
    yield Line("note", line)


def _legend(matrix: Matrix, width: int) -> Iterator[Line]:
    """What the marks mean, each in the colour that it has in the map."""
    states = {cell.state for row in matrix.cells for cell in row}
    pieces: list[tuple[str, str]] = [(f" {MARKS[state]} {WORDS[state]}  ", state) for state in MARKS if state in states]
    if _values(matrix) and matrix.unit:
        pieces.append((f" figures: {matrix.unit}", ""))
    text, spans = _INDENT, list[tuple[int, int, str]]()
    for piece, state in pieces:
        if len(text) + len(piece.rstrip()) > width and text.strip():
            yield Line("note", text.rstrip(), tuple(spans))
            text, spans = _INDENT, []
        if state:
            spans.append((len(text), len(text) + 3, "heat0" if state == "ok" else state))
        text += piece
    yield Line("note", text.rstrip(), tuple(spans))
