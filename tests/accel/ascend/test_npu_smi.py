"""What the npu-smi parsers promise on any text: nothing raises, nothing is guessed, what is missing is said."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend import npu_smi
from provision.accel.ascend.npu_smi import (
    Die,
    MappedChip,
    missing_dies,
    parse_info,
    parse_list,
    parse_mapping,
    parse_watch,
)

RULE, DOUBLE, DASHES = "+---+---+---+", "+===+===+===+", "+-----------+"
TITLE = "| npu-smi 25.3.rc1                 Version: 25.3.rc1 |"
HEAD = ["| NPU Name | Health | Power(W) Temp(C) Hugepages-Usage(page)|"]
A3 = [*HEAD, "| Chip Phy-ID | Bus-Id | AICore(%) Memory-Usage(MB) HBM-Usage(MB) |"]
FIRST = ["| 0     Ascend910 | OK | 166.9 38 0 / 0 |", "| 0     0 | 0000:9D:00.0 | 3 0 / 0 46536/ 65536 |"]
SECOND = ["| 0     Ascend910 | Alarm | - 37 0 / 0 |", "| 1     1 | 0000:9F:00.0 | 0 0 / 0 3184 / 65536 |"]
THIRD = ["| 1     Ascend910 | OK | 162.1 37 0 / 0 |", "| 0     2 | 0000:99:00.0 | 0 0 / 0 3185 / 65536 |"]
FOURTH = ["| 1     Ascend910 | OK | - 36 0 / 0 |", "| 1     3 | 0000:9B:00.0 | 0 0 / 0 3186 / 65536 |"]
PROCESSES = [
    "| NPU Chip | Process id | Process name | Process memory(MB) |",
    DOUBLE,
    "| 0 0 | 2173027 | VLLMWorker_TP | 43266 |",
    DOUBLE,
    "| No running processes found in NPU 1 |",
    DOUBLE,
]
TABLE = [RULE, TITLE, RULE, *A3, DOUBLE, *FIRST, DASHES, *SECOND, DOUBLE, *THIRD, DASHES, *FOURTH, DOUBLE, RULE]
TABLE += PROCESSES


def text(*parts: list[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"


WHOLE = parse_info(text(TABLE))
ALARM = "NPU 0 chip 1: its health is Alarm"


def test_the_whole_table() -> None:
    assert [(d.npu, d.chip, d.device, d.health, d.hbm_used_mb) for d in WHOLE.dies] == [
        (0, 0, 0, "OK", 46536),
        (0, 1, 1, "Alarm", 3184),
        (1, 0, 2, "OK", 3185),
        (1, 1, 3, "OK", 3186),
    ]
    assert [(p.npu, p.chip, p.pid, p.memory_mb) for p in WHOLE.processes] == [(0, 0, 2173027, 43266)]
    assert WHOLE.problems == (ALARM,)


def without(*lines: str) -> str:
    return text([line for line in TABLE if line not in lines])


def test_a_lost_first_row_leaves_the_die_with_unknown_health() -> None:
    info = parse_info(without(SECOND[0]))
    assert [(d.npu, d.chip, d.device, d.health) for d in info.dies] == [
        (0, 0, 0, "OK"),
        (0, 1, 1, None),
        (1, 0, 2, "OK"),
        (1, 1, 3, "OK"),
    ]
    assert info.problems == (
        "chip 1 at bus 0000:9F:00.0: its first row is missing, so its health is unknown",
        "NPU 0 chip 1: its health could not be read",
    )


def test_the_first_die_of_a_card_gets_the_card_from_the_second() -> None:
    assert [(d.npu, d.chip) for d in parse_info(without(FIRST[0])).dies] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_lost_card_is_not_invented() -> None:
    info = parse_info(without(THIRD[0], FOURTH[0]))
    assert [(d.npu, d.chip) for d in info.dies] == [(0, 0), (0, 1), (None, 0), (None, 1)]
    assert "NPU 1: the process table names it, but it is missing above" in info.problems


def test_a_card_that_left_the_table_is_named_by_the_process_table() -> None:
    assert parse_info(without(*THIRD, *FOURTH)).problems == (
        ALARM,
        "NPU 1: the process table names it, but it is missing above",
    )


def test_a_die_that_left_the_table_is_missed_beside_its_mates() -> None:
    assert parse_info(without(*FOURTH)).problems == (ALARM, "NPU 1: 1 of 2 dies are shown")


def test_a_process_table_that_ends_early_says_of_whom_nothing_is_known() -> None:
    info = parse_info(without("| No running processes found in NPU 1 |"))
    assert info.problems == (ALARM, "NPU 1: the process table doesn't name it: who uses it is unknown")


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
    assert len(info.dies) == 4
    assert info.problems == ("NPU 1 chip 0 is listed twice; the first listing counts", ALARM)


def test_a_card_named_by_a_number() -> None:
    rows = ["| 0 310 | OK | 12.8 45 0 / 0 |", "| 0 0 | NA | 0 800 / 8192 |"]
    die = parse_info(text(rows)).dies[0]
    assert (die.name, die.health, die.device, die.memory_total_mb) == ("310", "OK", 0, 8192)


def test_the_warning_after_valid_tables_is_a_problem_and_no_more() -> None:
    warning = "[WARNING]The driver package may not be completely installed. Please check"
    info = parse_info(text(TABLE, [warning]))
    assert info.dies == WHOLE.dies
    problem, *rest = info.problems
    assert rest == [ALARM]
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
    if len(info.dies) < 4 or None in {die.health for die in info.dies}:
        assert info.problems


def agrees(part: Die, whole: Die | None) -> bool:
    """Each field of a die read from cut text is the true one, or empty."""
    candidates = [whole] if whole else WHOLE.dies
    names = [field.name for field in fields(Die)]
    return any(all(getattr(part, n) in (None, "", getattr(c, n)) for n in names) for c in candidates)


ANY_TEXT = st.one_of(
    st.binary().map(lambda raw: raw.decode("utf-8", "replace")), st.text("|+=-/ 0159NA:.OK\n", max_size=200)
)


@pytest.mark.parametrize("parse", [parse_info, parse_mapping, parse_list, parse_watch])
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


# ---- what a parser must survive [samples/npu FIELDS, last section], by its numbers


def test_1_columns_of_any_width_and_ragged_rows() -> None:
    wide = [line.replace(" |", "          |") for line in TABLE]
    ragged = [line + "  " if i % 2 else line[:-1] + " |" for i, line in enumerate(TABLE)]
    assert parse_info(text(wide)) == parse_info(text(ragged)) == WHOLE
    narrow = parse_info("| 0 910B | OK | 81.5 35 0 / 0 |\n| 0 0 | 0000:81:00.0 | 1 1234 / 15137 2 / 32768 |\n")
    assert [(d.name, d.memory_used_mb, d.hbm_total_mb) for d in narrow.dies] == [("910B", 1234, 32768)]


def test_2_two_rows_a_die_either_of_which_may_be_missing() -> None:
    chips = [MappedChip(npu, chip, 2 * npu + chip) for npu in (0, 1) for chip in (0, 1)]
    assert missing_dies(WHOLE.dies, chips) == ()
    assert missing_dies(parse_info(without(*SECOND)).dies, chips) == (chips[1],)
    assert missing_dies(parse_info(without(SECOND[0])).dies, chips) == ()
    assert missing_dies(parse_info(without(SECOND[1])).dies, chips) == (chips[1],)


@pytest.mark.parametrize("power", ["-", "NA", "0.0"])
def test_3_numbers_without_a_space_and_values_that_say_nothing(power: str) -> None:
    rows = [f"| 0 310P3 | OK | {power} 41 0 / 0 |", "| 0 0 | NA | 0 63503/ 65536 |"]
    [die] = parse_info(text([TITLE.replace("npu-smi 25.3.rc1", "npu-smi 25.3.rc2")], rows)).dies
    assert (die.power_w, die.bus_id) == (0.0 if power == "0.0" else None, None)
    assert (die.memory_used_mb, die.memory_total_mb) == (63503, 65536)
    info = parse_info("| npu-smi 23.0.rc3 Version: 23.0.rc2.3 |\n")
    assert (info.tool_version, info.driver_version) == ("23.0.rc3", "23.0.rc2.3")


@given(st.lists(st.integers(0, 40000), min_size=1, max_size=5, unique=True))
def test_4_card_ids_of_any_number(ids: list[int]) -> None:
    rows = [f"| {i} 310P3 | OK | NA 41 0 / 0 |\n| 0 0 | 0000:0C:00.0 | 0 1 / 21527 |" for i in ids]
    idle = [f"| No running processes found in NPU {i} |" for i in ids]
    info = parse_info(text(rows, idle))
    assert [d.npu for d in info.dies] == ids
    assert info.problems == ()


def test_5_process_rows_of_four_or_five_columns_with_empty_names() -> None:
    table = without("| 0 0 | 2173027 | VLLMWorker_TP | 43266 |")
    assert parse_info(table).problems[-1] == "NPU 0: the process table doesn't name it: who uses it is unknown"
    five = "| 0 0 | 77 | | 43266 | 12 |\n| 0 1 | 78 | rayRayWorkerW | 1 | NA |\n"
    info = parse_info(table + five)
    assert [(p.chip, p.pid, p.name, p.memory_mb, p.container_pid) for p in info.processes] == [
        (0, 77, "", 43266, 12),
        (1, 78, "rayRayWorkerW", 1, None),
    ]
    untold = parse_info(text([*A3, *FIRST])).problems
    assert untold == ("the process table is missing: who uses the NPUs is unknown",)


def test_6_text_around_the_table() -> None:
    around = ["root@node:~# npu-smi info", "[HAMI-core Msg(139:140)]: Initializing", "警告:驱动未完全安装"]
    assert parse_info(text(around, TABLE, around)) == WHOLE


def test_7_mapping_of_four_or_five_columns_with_and_without_a_title() -> None:
    a2 = "\t0  0  0  Ascend 910B4\n\t0  1  -  Mcu\n"
    a3 = "\t0  0  0  0  Ascend910\n\t0  1  1  1  Ascend910\n\t0  2  -  -  Mcu\n"
    titles = "NPU ID  Chip ID  Chip Logic ID  {}Chip Name\n"
    for rows, phy in ((a2, ""), (a3, "Chip Phy-ID  ")):
        titled = parse_mapping(titles.format(phy) + rows)
        assert titled == parse_mapping(rows)
        assert (titled.controllers, titled.problems) == (1, ())
    assert [chip.name for chip in parse_mapping(a2).chips] == ["Ascend 910B4"]
    assert [chip.device for chip in parse_mapping(a3).chips] == [0, 1]
    for word in ("Total Count", "Card Count"):
        assert parse_list(f"{word} : 1\n\nNPU ID : 8\nChip Count : 1\n").problems == ()


def test_a_chip_mapped_twice_is_said() -> None:
    assert parse_mapping("0 0 0 Ascend 910B4\n0 0 1 Ascend 910B4\n").problems == ("NPU 0 chip 0 is listed twice",)


def test_a_last_line_without_an_end_is_said() -> None:
    [problem] = parse_mapping("0 0 0 Ascend 910B4\n1 0 1 Ascend 9").problems
    assert problem == "the last line has no end, so it may be cut off: '1 0 1 Ascend 9'"


def test_watch_reads_columns_by_their_titles() -> None:
    watch = parse_watch("NpuID(Idx)  ChipId(Idx) Temp(C)     Pwr(W)\n0 0 55 8.7\n0 0 56\n")
    assert [(row.temp_c, row.power_w) for row in watch.rows] == [(55, 8.7)]
    assert watch.problems == ("not understood: '0 0 56'",)
