"""docs/serving.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provision.serve.argv import SWITCHES
from provision.serve.profiles import profile_names
from provision.serve.rules.base import CODES
from provision.serve.topologies.base import topologies

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def test_every_rule_is_in_the_table_and_no_other() -> None:
    assert set(re.findall(r"(?m)^\| ([ST]\d+) \|", TEXT)) == CODES.keys()


@pytest.mark.parametrize("name", [*topologies(), *profile_names(), *(SWITCHES - {"enable-expert-parallel"})])
def test_every_name_is_explained(name: str) -> None:
    assert f"`{name}`" in TEXT
