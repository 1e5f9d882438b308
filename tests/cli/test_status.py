"""How ages and devices are written."""

from __future__ import annotations

import pytest
from rich.table import Table

from provision.cli.status import age, devices, show


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "120m"), (7200, "2h"), (172_800, "2d")],
)
def test_ages(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), "-"), ((3,), "3"), (tuple(range(16)), "0-15"), ((7, 0, 1, 2, 9, 10), "0-2,7,9-10"), ((1, 3), "1,3")],
)
def test_devices(numbers: tuple[int, ...], text: str) -> None:
    assert devices(numbers) == text


def test_in_a_pipe_a_row_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("node", "drift")
    table.add_row("a-node-of-quite-some-length.example", "launched as 0123456789abcdef, declared fedcba9876543210")

    show(table)

    row = "a-node-of-quite-some-length.example │ launched as 0123456789abcdef, declared fedcba9876543210"
    assert row in capsys.readouterr().out
