"""What the npu-smi parsers promise on any text: nothing raises, nothing is guessed, what is missing is said."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend import npu_smi
from provision.accel.ascend.npu_smi import Die, parse_board, parse_health, parse_info, parse_list, parse_mapping

RULE, DOUBLE, DASHES = "+---+---+---+", "+===+===+===+", "+-----------+"
TITLE = "| npu-smi 25.3.rc1                 Version: 25.3.rc1 |"
HEAD = ["| NPU Name | Health | Power(W) Temp(C) Hugepages-Usage(page)|"]
A3 = [*HEAD, "| Chip Phy-ID | Bus-Id | AICore(%) Memory-Usage(MB) HBM-Usage(MB) |"]
FIRST = ["| 0     Ascend910 | OK | 166.9 38 0 / 0 |", "| 0     0 | 0000:9D:00.0 | 3 0 / 0 46536/ 65536 |"]
SECOND = ["| 0     Ascend910 | Alarm | - 37 0 / 0 |", "| 1     1 | 0000:9F:00.0 | 0 0 / 0 3184 / 65536 |"]
THIRD = ["| 1     Ascend910 | OK | 162.1 37 0 / 0 |", "| 0     2 | 0000:99:00.0 | 0 0 / 0 3185 / 65536 |"]
PROCESSES = [
    "| NPU Chip | Process id | Process name | Process memory(MB) |",
    DOUBLE,
    "| 0 0 | 2173027 | VLLMWorker_TP | 43266 |",
    DOUBLE,
    "| No running processes found in NPU 1 |",
    DOUBLE,
]
TABLE = [RULE, TITLE, RULE, *A3, DOUBLE, *FIRST, DASHES, *SECOND, DOUBLE, *THIRD, DOUBLE, RULE, *PROCESSES]


def text(*parts: list[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"


WHOLE = parse_info(text(TABLE))


def test_the_whole_table() -> None:
    assert [(d.npu, d.chip, d.device, d.health, d.hbm_used_mb) for d in WHOLE.dies] == [
        (0, 0, 0, "OK", 46536),
        (0, 1, 1, "Alarm", 3184),
        (1, 0, 2, "OK", 3185),
    ]
    assert [(p.npu, p.chip, p.pid, p.memory_mb) for p in WHOLE.processes] == [(0, 0, 2173027, 43266)]
    assert WHOLE.problems == ()


def without(*lines: str) -> str:
    return text([line for line in TABLE if line not in lines])


def test_a_lost_first_row_leaves_the_die_with_unknown_health() -> None:
    info = parse_info(without(SECOND[0]))
    assert [(d.npu, d.chip, d.device, d.health) for d in info.dies] == [
        (0, 0, 0, "OK"),
        (0, 1, 1, None),
        (1, 0, 2, "OK"),
    ]
    assert info.problems == (
        "chip 1 at bus 0000:9F:00.0: its first row is missing, so its health is unknown",
        "NPU 0 chip 1: its health could not be read",
    )


def test_the_first_die_of_a_card_gets_the_card_from_the_second() -> None:
    assert [(d.npu, d.chip) for d in parse_info(without(FIRST[0])).dies] == [(0, 0), (0, 1), (1, 0)]


def test_a_lost_card_is_not_invented() -> None:
    assert [(d.npu, d.chip) for d in parse_info(without(THIRD[0])).dies] == [(0, 0), (0, 1), (None, 0)]


def test_a_lost_second_row_is_said() -> None:
    info = parse_info(without(SECOND[1]))
    assert [(d.npu, d.chip, d.health, d.hbm_used_mb) for d in info.dies][1] == (0, None, "Alarm", None)
    assert "NPU 0: its second row is missing" in info.problems


def test_an_unknown_health_word_is_no_health() -> None:
    info = parse_info(without().replace("Alarm", "Alar"))
    assert info.dies[1].health is None
    assert info.problems == ("NPU 0 chip 1: its health could not be read",)


def test_a_die_listed_twice_counts_once() -> None:
    info = parse_info(text(TABLE, THIRD))
    assert len(info.dies) == 3
    assert info.problems == ("NPU 1 chip 0 is listed twice; the first listing counts",)


def test_a_card_named_by_a_number() -> None:
    rows = ["| 0 310 | OK | 12.8 45 0 / 0 |", "| 0 0 | NA | 0 800 / 8192 |"]
    die = parse_info(text(rows)).dies[0]
    assert (die.name, die.health, die.device, die.memory_total_mb) == ("310", "OK", 0, 8192)


def test_the_warning_after_valid_tables_is_a_problem_and_no_more() -> None:
    warning = "[WARNING]The driver package may not be completely installed. Please check"
    info = parse_info(text(TABLE, [warning]))
    assert info.dies == WHOLE.dies
    [problem] = info.problems
    assert problem.startswith("driver package may not be completely installed: /etc/ascend_install.info has no ")


def test_an_unknown_return_code_is_shown() -> None:
    assert parse_info("dcmi x failed. ret is -8999\n").problems[0] == "dcmi x failed. ret is -8999 (unknown code)"


NOISE = st.sampled_from(
    [
        "",
        "[INFO limiter] Compute limit: 1",
        "root@node:~# npu-smi info",
        "警告:驱动",
        "DrvMngGetConsoleLogLevel failed.",
        "|",
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(TABLE)), NOISE), max_size=6))
def test_lines_between_rows_change_no_fact(noise: list[tuple[int, str]]) -> None:
    lines = list(TABLE)
    for place, line in noise:
        lines.insert(place, line)
    info = parse_info(text(lines))
    assert (info.dies, info.processes) == (WHOLE.dies, WHOLE.processes)


@given(st.lists(st.integers(0, 12), min_size=8, max_size=8))
def test_widths_change_no_fact(widths: list[int]) -> None:
    def padded(line: str) -> str:
        cells = line.split("|")
        return "|".join(cell + " " * widths[i % 8] if cell.strip() else cell for i, cell in enumerate(cells)) + " "

    assert parse_info(text([padded(line) for line in TABLE])) == WHOLE


@given(st.integers(0, len(text(TABLE)) - 1))
def test_a_cut_off_table_tells_the_truth_or_nothing(end: int) -> None:
    info = parse_info(text(TABLE)[:end])
    whole = {(d.npu, d.name and d.temp_c): d for d in WHOLE.dies}
    for die in info.dies:
        assert agrees(die, whole.get((die.npu, die.name and die.temp_c)))
    assert {process.pid for process in info.processes} <= {2173027}
    assert {process.memory_mb for process in info.processes} <= {43266, None}
    if len(info.dies) < 3 or None in {die.health for die in info.dies}:
        assert info.problems


def agrees(part: Die, whole: Die | None) -> bool:
    """Each field of a die read from cut text is the true one, or empty."""
    candidates = [whole] if whole else WHOLE.dies
    names = [field.name for field in fields(Die)]
    return any(all(getattr(part, n) in (None, "", getattr(c, n)) for n in names) for c in candidates)


ANY_TEXT = st.one_of(
    st.binary().map(lambda raw: raw.decode("utf-8", "replace")), st.text("|+=-/ 0159NA:.OK\n", max_size=200)
)


@pytest.mark.parametrize("parse", [parse_info, parse_mapping, parse_list, parse_health, parse_board])
@given(garbage=ANY_TEXT)
def test_nothing_raises(parse: object, garbage: str) -> None:
    assert callable(parse)
    assert parse(garbage) is not None


@given(ANY_TEXT)
def test_nothing_is_found_in_silence(garbage: str) -> None:
    info = parse_info(garbage)
    assert info.dies or info.problems
    assert all(die.health in (*npu_smi.HEALTHS, None) for die in info.dies)


def test_mapping_without_rows_is_a_problem() -> None:
    assert parse_mapping("\tNPU ID  Chip ID  Chip Logic ID  Chip Name\n").problems == ("no NPU in the output",)


def test_mapping_with_a_cut_row_says_so() -> None:
    mapping = parse_mapping("NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name\n0 0 0 0 Ascend910\n0 1 1\n")
    assert [chip.device for chip in mapping.chips] == [0]
    assert mapping.problems == ("not understood: '0 1 1'",)


def test_list_counts_against_its_total() -> None:
    assert parse_list("Total Count : 2\n\nNPU ID : 0\nChip Count : 1\n").problems == ("1 cards listed, 2 in the total",)
