"""The ``-t`` outputs on any text: nothing raises, nothing is guessed; alarms and gaps are said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend import npu_smi_sections as sections
from provision.accel.ascend.npu_smi_sections import (
    parse_board,
    parse_common,
    parse_ecc,
    parse_health,
    parse_memory,
    parse_process_memory,
    parse_super_pod,
    parse_temp,
    parse_usages,
)


def lines(head: str, *chips: dict[str, object]) -> str:
    """An output as the tool lays it out: ``Key : value``, keys padded, a blank line before each chip."""
    said = ["\n".join(f"\t{key:<41}: {value}" for key, value in chip.items()) for chip in chips]
    return "\n\n".join([head, *said]) + "\n"


HEAD = "\tNPU ID                         : 1\n\tChip Count                     : 2"
ECC = lines(
    HEAD,
    {"HBM Single Bit Error Count": 11, "HBM Double Bit Error Count": 2, "Chip ID": 0},
    {"HBM Single Bit Error Count": 0, "HBM Double Bit Isolated Pages Count": 37, "Chip ID": 1},
)
USAGES = lines(
    HEAD,
    {"HBM Capacity(MB)": 65536, "HBM Usage Rate(%)": 14, "Chip ID": 0},
    {"HBM Capacity(MB)": 62914, "HBM Usage Rate(%)": 93, "Chip ID": 1},
)
COMMON = lines(
    HEAD,
    {"Chip ID": 0, "Aicore Freq(MHZ)": 1800, "Temperature(C)": 46, "NPU Real-time Power(W)": 93.4},
    {"Chip ID": 1, "Aicore Freq(MHZ)": 1700, "Temperature(C)": 48, "NPU Real-time Power(W)": "-"},
    {"Chip Name": "mcu", "Temperature(C)": 38},
)
MEMORY = lines(HEAD, {"HBM Temperature(C)": 41, "Chip ID": 0}, {"HBM Temperature(C)": 52, "Chip ID": 1})
TEMP = lines(
    HEAD,
    {"NPU Temperature (C)": 45, "Chip ID": 0},
    {"NPU Temperature (C)": 47, "Chip ID": 1},
    {"Temperature(C)": 33, "Chip Name": "MCU"},
)
HEALTH = lines(HEAD, {"Health": "OK", "Chip ID": 0}, {"Health": "Warning", "Chip ID": 1})
POD = lines("", {"SDID": 167837697, "Super Pod Size": 384, "Super Pod ID": 7, "Server Index": 40})
BOARD = lines("", {"NPU ID": 1, "Chip Name": "Ascend910", "NPU Name": 9392, "Firmware Version": "7.8.0.6.201"})
PROCESSES = "\tNPU ID : 1\n" + "".join(
    f"\tProcess id:{pid}  Process name:{name}        Process memory(MB):{mb}\n\tChip ID : {chip}\n"
    for pid, name, mb, chip in ((395864, "power test", 5118, 0), (395865, "", 43266, 1))
)

OUTPUTS: list[tuple[Callable[[str], Any], str]] = [
    (parse_ecc, ECC),
    (parse_usages, USAGES),
    (parse_common, COMMON),
    (parse_memory, MEMORY),
    (parse_temp, TEMP),
    (parse_health, HEALTH),
    (parse_super_pod, POD),
    (parse_board, BOARD),
    (parse_process_memory, PROCESSES),
]
NAMES = [parse.__name__ for parse, _ in OUTPUTS]
PARSERS = [getattr(sections, name) for name in dir(sections) if name.startswith("parse_")]


def test_ecc_counters_and_what_they_add_up_to() -> None:
    first, second = parse_ecc(ECC).chips
    assert (first.hbm_single, first.uncorrected, first.isolated) == (11, 2, 0)
    assert (second.hbm_double, second.uncorrected, second.isolated) == (None, 0, 37)


def test_8_the_chip_line_ends_its_block_but_starts_it_in_common_and_mcu_repeats_keys() -> None:
    assert [(c.chip, c.hbm_mb) for c in parse_usages(USAGES).chips] == [(0, 65536), (1, 62914)]
    assert [(c.chip, c.hbm_temp_c) for c in parse_memory(MEMORY).chips] == [(0, 41), (1, 52)]
    common = parse_common(COMMON)
    assert [(c.chip, c.temp_c, c.power_w) for c in common.chips] == [(0, 46, 93.4), (1, 48, None)]
    assert common.controller_temp_c == 38
    temp = parse_temp(TEMP)
    assert ([(c.chip, c.temp_c) for c in temp.chips], temp.controller_temp_c) == ([(0, 45), (1, 47)], 33)


def test_8_health_text_spans_lines() -> None:
    health = parse_health(
        "\tHealth Status                  : Alarm\n\tError Code                     : 80E01801 0x8C03A000\n"
        "\tError Information              : one\n\n\t                               : two\n"
    )
    [chip] = health.chips
    assert (chip.codes, chip.information) == (("80E01801", "0x8C03A000"), ("one", "two"))
    assert health.problems == ("its health is Alarm, codes 80E01801 0x8C03A000",)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Health : Critical\nChip ID : 4\n", "chip 4: its health is Critical"),
        ("Health : Okay\nChip ID : 4\n", "chip 4: its health could not be read"),
        ("Health : OK\nError Code : zz\n", "'zz' is no error code"),
        ("Health : OK\nChip ID : 0\nHealth : Alarm\nChip Name : MCU\n", "the management controller's health is Alarm"),
        ("Health : OK\nChip ID : 0\nHealth : ?\nChip Name : MCU\n", "the management controller's health is unreadable"),
    ],
)
def test_what_is_not_ok_is_a_problem(text: str, problem: str) -> None:
    assert parse_health(text).problems == (problem,)


@pytest.mark.parametrize(
    ("word", "fits", "problems"),
    [
        ("OK", True, ()),
        ("NA", None, ()),
        ("UNKNOWN", None, ()),
        ("NOT SUPPORT", False, ("driver and firmware do not fit each other: Compatibility NOT SUPPORT",)),
    ],
)
def test_compatibility(word: str, fits: bool | None, problems: tuple[str, ...]) -> None:
    board = parse_board(f"NPU ID : 0\nCompatibility : {word}\n")
    assert (board.firmware_fits, board.problems) == (fits, problems)


def test_a_board_with_faulty_chips() -> None:
    assert parse_board("NPU ID : 0\nChip Fault : 1\n").problems == ("1 faulty chips",)


def test_processes_with_names_that_are_empty_or_hold_blanks() -> None:
    said = parse_process_memory(PROCESSES)
    assert [(p.pid, p.name, p.memory_mb, p.chip) for p in said.processes] == [
        (395864, "power test", 5118, 0),
        (395865, "", 43266, 1),
    ]
    assert said.problems == ()


def test_the_chip_may_stand_before_its_processes() -> None:
    said = parse_process_memory("Chip ID : 1\nProcess id:5  Process name:x  Process memory(MB):7\n")
    assert [(p.pid, p.chip) for p in said.processes] == [(5, 1)]


def test_no_process_and_no_answer_are_two_things() -> None:
    idle = parse_process_memory("NPU ID : 0\nNo process in device.\nChip ID : 0\n")
    assert (idle.idle, idle.problems) == (True, ())
    assert parse_process_memory("NPU ID : 0\n").problems == ("no process in the output, nor that there is none",)
    cut = parse_process_memory("Process id:395864  Process na\n").problems
    assert cut[0] == "not understood: 'Process id:395864 Process na'"


ANY_TEXT = st.one_of(
    st.binary(max_size=300).map(lambda raw: raw.decode("utf-8", "replace")),
    st.binary(max_size=200).map(lambda raw: raw.decode("utf-16", "replace")),
    st.lists(
        st.sampled_from(["Chip ID : 0", "Chip ID : x", "Chip Name : MCU", "NPU ID : 1", "Chip Count : 3", "Health : OK",
                         "Error Code : A1", " : text", "Temperature(C) : 9", "SDID : -", "Process id:1", "警告 : x"]),
        max_size=12,
    ).map("\n".join),
)  # fmt: skip


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@given(text=ANY_TEXT)
def test_nothing_raises(parse: Callable[[str], Any], text: str) -> None:
    assert isinstance(parse(text).problems, tuple)


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
def test_nothing_is_found_in_silence(parse: Callable[[str], Any]) -> None:
    assert parse("").problems
    assert parse("Segmentation fault\n").problems


def facts(value: Any) -> set[tuple[object, ...]]:
    """What was read, chip by chip (process by process): (chip, name, value)."""
    rows = getattr(value, "chips", None) or getattr(value, "processes", None) or (value,)
    rows = rows if isinstance(rows, tuple) else (value,)
    named = {(getattr(row, "pid", getattr(row, "chip", None)), n, getattr(row, n)) for row in rows for n in names(row)}
    return {fact for fact in named if fact[1] not in ("problems", "other", "chip") and fact[2] not in (None, "", ())}


@pytest.mark.parametrize(("parse", "text"), OUTPUTS, ids=NAMES)
@given(data=st.data())
def test_a_cut_off_output_tells_the_truth_or_says_that_it_is_cut(
    parse: Callable[[str], Any], text: str, data: st.DataObject
) -> None:
    part = parse(text[: data.draw(st.integers(0, len(text) - 1))])
    assert facts(part) <= facts(parse(text)) or part.problems


def names(row: Any) -> list[str]:
    return list(type(row).__dataclass_fields__)


NOISE = st.sampled_from(["", "[INFO limiter] Compute limit: 1", "root@node:~# npu-smi info", "警告:驱动", "| x | y |"])


@pytest.mark.parametrize(("parse", "text"), OUTPUTS, ids=NAMES)
@given(noise=st.lists(st.tuples(st.integers(0, 9), NOISE), max_size=5), gap=st.integers(0, 9))
def test_lines_between_and_blanks_inside_change_no_fact(
    parse: Callable[[str], Any], text: str, noise: list[tuple[int, str]], gap: int
) -> None:
    rows = [line.replace(" : ", f" {' ' * gap}: ") for line in text.splitlines()]
    for place, line in noise:
        rows.insert(place, line)
    assert parse("\r\n".join([*rows, ""])) == parse(text)
