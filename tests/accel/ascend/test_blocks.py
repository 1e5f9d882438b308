"""How keyed outputs fall into chips: the chip's line may end its block, start it, or not be there."""

from __future__ import annotations

import pytest

from provision.accel.ascend.blocks import Block, blocks, decimals, integers, plain, values

HEAD = "NPU ID : 3\nChip Count : 2\n\n"
ENDING = HEAD + "Rate(%) : 5\nChip ID : 0\n\nRate(%) : 6\nChip ID : 1\n\nRate(%) : 7\nChip Name : MCU\n"
STARTING = HEAD + "Chip ID : 0\nRate(%) : 5\n\nChip ID : 1\nRate(%) : 6\n\nChip Name : mcu\nRate(%) : 7\n"
RATE = (plain("Rate(%)"),)


@pytest.mark.parametrize("text", [ENDING, STARTING], ids=["ends", "starts"])
def test_the_chip_line_at_either_end(text: str) -> None:
    read = blocks(text, "rate", RATE)
    assert read.chips == (Block(0, (("Rate(%)", "5"),)), Block(1, (("Rate(%)", "6"),)))
    assert read.controller is not None
    assert read.controller.pairs == (("Rate(%)", "7"),)
    assert (read.npu, read.problems) == (3, ())


@pytest.mark.parametrize("text", [ENDING, STARTING], ids=["ends", "starts"])
def test_a_line_of_noise_before_changes_nothing(text: str) -> None:
    noise = "2026-11-24 [INFO] limiter : started\n"
    assert blocks(noise + text, "rate", RATE).chips[1] == blocks(text, "rate", RATE).chips[1]


def test_without_a_chip_line_there_is_one_chip() -> None:
    read = blocks("NPU ID : 0\nRate(%) : 5\n", "rate", RATE)
    assert read.chips == (Block(None, (("Rate(%)", "5"),)),)
    assert read.problems == ()


ONE = HEAD + "Rate(%) : 5\nChip ID : 0\n"
REFUSAL = "this device does not support querying rate"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ("no rate in the output",)),
        (ONE, ("1 of 2 chips in the output",)),
        (ONE + "Rate(%) : 6\n", ("a chip isn't named: its Chip ID is missing or unreadable",)),
        (ONE + "Rate(%) : 6\nChip ID : 0\n", ("chip 0 is in the output twice",)),
        (f"{REFUSAL.capitalize()}.\n", (REFUSAL, "no rate in the output")),
    ],
)
def test_what_is_missing_is_said(text: str, problems: tuple[str, ...]) -> None:
    assert blocks(text, "rate", RATE).problems == problems


def test_values_unknown_keys_and_unreadable_ones() -> None:
    spec = {**integers({"Rate (%)": "rate", "Count": "count"}), **decimals({"Power(W)": "power"})}
    block = Block(1, (("RATE(%)", "7"), ("Power(W)", "NA"), ("Count", "seven"), ("Count", "8"), ("New Key", "x")))
    assert values(block, spec) == (
        {"rate": 7, "power": None, "count": None},
        (("New Key", "x"),),
        ["chip 1: Count is not understood: 'seven'", "chip 1: Count is printed twice; the first counts"],
    )
