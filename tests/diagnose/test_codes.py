"""Codes are data; whatever way an operator writes one, it is found, and what is no code is none."""

from __future__ import annotations

import pytest

from provision.diagnose import codes
from provision.diagnose.catalogue import match


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("EI0006", "EI0006"),
        ("ei0006", "EI0006"),
        ("507899", "507899"),
        ("-8005", "-8005"),
        ("8005", "-8005"),
        ("hccl 9", "hccl-9"),
        ("HCCL-9", "hccl-9"),
        ("drv 87", "drv-87"),
        ("err02200", "ERR02200"),
        ("0X80E01801", "0x80E01801"),
        ("0x80e01801", "0x80E01801"),
    ],
)
def test_a_code_however_it_is_written(text: str, code: str) -> None:
    found = codes.lookup(text)
    assert found is not None
    assert (found.code, found.known) == (code, True)


@pytest.mark.parametrize(
    "text", ["", "E", "EI006", "EI00066", "hccl", "hccl-", "12", "507", "npu-free", "-", "-8", "0x"]
)
def test_what_is_no_code(text: str) -> None:
    assert codes.lookup(text) is None


def test_an_unknown_code_is_told_by_its_family() -> None:
    found = codes.lookup("EI0099")
    assert found is not None
    assert (found.known, found.family, found.name) == (False, "HCCL", "")
    assert found.meaning == "collective communication between NPUs failed"


def test_codes_of_every_kind_are_known() -> None:
    listed = {code.code for code in codes.codes()}
    assert listed >= {f"EI{number:04}" for number in range(1, 21)}
    assert listed >= {"EJ0001", "EL0004", "EZ9999", "EE1001", "EH0001", "E19999", "E30008", "E40021", "ERR99999"}
    assert listed >= {"107001", "207001", "207008", "507018", "507035", "507899", "561103", "-8005", "-8020", "-9005"}
    assert listed >= {f"hccl-{number}" for number in range(1, 25)}


def test_every_code_is_complete_and_its_line_is_explained() -> None:
    for code in codes.codes():
        assert all((code.meaning, code.remedy, code.source)), code
        assert codes.lookup(code.code) == code
        assert code.family == "NPU event" or match(codes.example(code)) is not None, code
