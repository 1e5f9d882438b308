"""Heat maps of characters: they fit, and say the same without colour."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.findings import Cell, CellState, Matrix
from provision.render.heat import bounds, dead_ends, heat_map, in_words, shade
from provision.render.lines import Line, wrapped
from tests.render.examples import matrix, mixed


def drawn(shown: Matrix, width: int = 80) -> list[str]:
    return [line.text.rstrip() for line in heat_map(shown, width)]


def well(value: float | None = 0.2) -> Callable[[int, int], Cell]:
    return lambda row, column: Cell("ok", value)


def test_a_small_map() -> None:
    cells = ((Cell("self"), Cell("ok", 0.12)), (Cell("slow", 12.3), Cell("self")))
    assert drawn(Matrix("ping", "ms", ("a-1", "a-2"), ("a-1", "a-2"), cells)) == [
        "ping: 1 of 2 pairs well, 1 slow; 0.12 to 12.3 ms, median 6.21",
        "           1   2",
        "   1 a-1   - .12",
        "   2 a-2  12~  -",
        "   . well   ~ slow   - itself   figures: ms",
    ]


def test_sixteen_by_sixteen_fits_eighty_columns_with_its_figures() -> None:
    lines = list(heat_map(matrix(16, mixed), 80))
    table = [line for line in lines if line.kind == "table"]
    assert max(len(line.text) for line in table) == 78
    assert len(table) == 17
    assert " .16   X .18" in table[4].text
    assert " 12~" in table[1].text
    assert " .50!" in table[10].text


@pytest.mark.parametrize("width", [30, 40, 80, 200])
@pytest.mark.parametrize("size", [0, 1, 2, 16, 31, 64])
@pytest.mark.parametrize("name", ["n{}", "a-host-with-a-rather-long-name-{}.example.com"])
def test_it_fits_whatever_the_width(size: int, width: int, name: str) -> None:
    for values in (mixed, well(None), well(1e7)):
        for line in heat_map(matrix(size, values, name=name), width):
            assert line.kind in ("title", "fail") or len(line.text.rstrip()) <= width


def test_where_figures_do_not_fit_marks_do() -> None:
    lines = drawn(matrix(16, mixed), 40)
    assert lines[2:4] == ["                       1111111", "              1234567890123456"]
    assert lines[7] == "   4 atlas-4  ...-...X........"
    assert lines[-1] == "   figures: ms"


def test_wider_than_the_terminal_goes_on_below() -> None:
    lines = [line for line in drawn(matrix(32, well(None)), 30) if line.startswith("   1 atlas-1")]
    assert len(lines) == 2
    assert sum(line.count(".") for line in lines) == 31


def test_of_a_large_map_the_trouble_is_drawn() -> None:
    lines = drawn(matrix(64, mixed))
    assert lines[1:3] == ["  nothing was tried from atlas-12", "  drawn: 3 x 3 with trouble"]
    assert [line.split()[0] for line in lines[4:7]] == ["atlas-1", "atlas-4", "atlas-10"]
    assert lines[7] == "  columns  1 atlas-3  2 atlas-6  3 atlas-8"
    assert drawn(matrix(64, well()))[1:] == ["  not drawn: the rest is well"]


def test_rows_that_are_not_the_columns_have_their_names_below() -> None:
    cells = ((Cell("ok", 1200.0), Cell("lost")), (Cell("ok", 3.0), Cell("ok", 3.0)))
    lines = drawn(Matrix("tcp", "ms", ("a", "b"), ("port 1", "port 2"), cells))
    assert lines[1:5] == ["      1   2", "  a  1k   X", "  b 3.0 3.0", "  columns  1 port 1  2 port 2"]


def test_a_map_without_cells() -> None:
    assert drawn(Matrix("ping", "ms", (), (), ())) == ["ping: 0 pairs well"]


def test_in_words() -> None:
    assert in_words(matrix(3, well(None))) == "6 pairs well"
    assert in_words(matrix(2, well(0.5))) == "2 pairs well; 0.5 ms"
    assert in_words(matrix(2, lambda row, column: Cell("lost"))) == "0 of 2 pairs well, 2 lost"


def test_nothing_is_a_dead_end_where_everything_is() -> None:
    assert list(dead_ends(matrix(3, lambda row, column: Cell("lost")))) == []
    assert list(dead_ends(matrix(4, lambda row, column: Cell("lost" if column == 2 else "ok")))) == [
        "nothing comes through to atlas-3"
    ]
    assert list(dead_ends(matrix(4, lambda row, column: Cell("partial" if column == 2 else "ok")))) == []
    assert list(dead_ends(matrix(4, lambda row, column: Cell("untried" if column == 2 else "ok")))) == [
        "nothing was tried to atlas-3"
    ]


def test_a_line_that_is_lost_in_part_only_is_no_dead_end_beside_one_that_is() -> None:
    states: dict[int, CellState] = {0: "lost", 1: "partial", 2: "untried"}
    assert list(dead_ends(matrix(5, lambda row, column: Cell(states.get(row, "ok"))))) == [
        "nothing comes through from atlas-1",
        "nothing was tried from atlas-3",
    ]
    half = matrix(4, lambda row, column: Cell("lost" if row == 1 and column else "untried" if row == 1 else "ok"))
    assert list(dead_ends(half)) == ["nothing comes through from atlas-2"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, "heat0"), (2.0, "heat1"), (3.0, "heat2"), (4.0, "heat3"), (5.0, "heat3"), (None, "heat0")],
)
def test_warmth(value: float | None, expected: str) -> None:
    assert shade(Cell("ok", value), 1.0, 5.0) == expected
    assert shade(Cell("ok", value), 4.0, 5.0) == "heat0", "not worth shades"
    assert shade(Cell("lost", value), 1.0, 5.0) == "lost"


def test_what_is_not_well_does_not_set_the_range() -> None:
    assert bounds(matrix(16, mixed)) == pytest.approx((0.1, 0.25))


def test_colours_lie_on_the_cells() -> None:
    row = next(line for line in heat_map(matrix(16, mixed), 80) if line.text.startswith("   4 atlas-4"))
    assert [kind for _, _, kind in row.spans].count("lost") == 1
    first, last, _ = next(span for span in row.spans if span[2] == "lost")
    assert row.text[first:last].strip() == "X"


def test_long_lines_hang_and_drawn_ones_stay() -> None:
    line = Line("remedy", f"{'remedy':>18}  {'word ' * 20}")
    pieces = [piece.text for piece in wrapped(line, 50)]
    assert len(pieces) > 2
    assert all(len(piece) <= 50 for piece in pieces)
    assert all(piece.startswith(" " * 20 + "word") for piece in pieces[1:])
    assert [piece.text for piece in wrapped(Line("table", "x" * 99), 50)] == ["x" * 99]
    assert all(piece.text.startswith("  word") for piece in list(wrapped(line, 30))[1:])
    command = Line("command", f"{'next':>18}  qnext-provision up -i /a/b/c.yaml")
    assert [piece.text for piece in wrapped(command, 40)] == [
        "              next",
        "  qnext-provision up -i /a/b/c.yaml",
    ]
