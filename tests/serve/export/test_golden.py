"""What each format writes for clusters that people run, to be read line by line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from provision.serve.export import compose, lws, scripts, systemd
from provision.serve.export.base import ExportFile
from tests.serve.export.launches import launch_of

GOLDEN = Path(__file__).with_name("golden")
MAKERS: dict[str, Callable[..., tuple[ExportFile, ...]]] = {
    "compose": compose.files,
    "lws": lws.files,
    "scripts": scripts.files,
    "systemd": systemd.files,
}
CASES = [
    "compose.a2-tp4",
    "compose.two-a3-dp8-tp4",
    "lws.two-a3-dp8-tp4",
    "lws.two-a2-ray",
    "lws.two-a3-prefill-decode",
    "scripts.two-a2-ray",
    "systemd.two-a2-external-dp",
]


def shown(files: Iterable[ExportFile]) -> str:
    """All but launch scripts, which have tests of their own, and what is copied as it is."""
    return "".join(
        f"==== {each.path}{' (executable)' if each.executable else ''}\n"
        + ("" if each.companion or each.path.endswith(".sh") else each.text)
        for each in files
    )


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    kind, _, name = case.partition(".")
    text, path = shown(MAKERS[kind](*launch_of(name))), GOLDEN / f"{case}.txt"
    if os.environ.get("QNEXT_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "if intended: QNEXT_UPDATE_GOLDEN=1, and review the difference"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)
