"""Every code of the domain's list S01 to S20 has a rule with a source, a case that breaks it and one that passes it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from provision import yamlio
from provision.checks.policy import LAYOUT_CODES
from provision.serve import topologies
from provision.serve.lint import RULES
from provision.serve.rules import nodes
from provision.serve.rules.base import CODES

CASES: list[dict[str, Any]] = yamlio.parse(yamlio.read_text(Path(__file__).with_name("layouts.yaml"))).data
ALL_RULES = (*nodes.ADDRESS_RULES, *RULES)

UNEXPRESSED = {
    "S14": "containers always have the host's network: no key of an inventory says another",
}
"""Codes that no inventory of today can break, and why. The parts of others that none can say yet: S12, both sides in
one inventory and their proxy; S17, max_model_len against the lengths of an evaluation; S09, the rules of 310P."""

BY_TOPOLOGY = {"S02": "the topologies' own violations"}
"""Codes whose rules are the topologies', which name their sources in the violations."""


def codes_of_cases(*keys: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for case in CASES:
        for key in keys:
            for code in case.get(key, ()):
                found[code].append(case["name"])
    return found


BREAKING, PASSING = codes_of_cases("fails", "warns"), codes_of_cases("passes")


@pytest.mark.parametrize("code", LAYOUT_CODES)
def test_every_code_is_named_has_a_rule_and_cases_on_both_sides(code: str) -> None:
    assert CODES[code]
    if code in UNEXPRESSED:
        assert code not in BREAKING
        assert not [rule for rule in ALL_RULES if (rule.__doc__ or "").startswith(code)]
        return
    assert code in BY_TOPOLOGY or any((rule.__doc__ or "").startswith(f"{code}:") for rule in ALL_RULES)
    assert BREAKING[code], f"no case of layouts.yaml breaks {code}"
    assert PASSING[code], f"no case of layouts.yaml names {code} under passes"


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}")
def test_every_rule_says_its_code_and_its_source(rule: Any) -> None:
    text = " ".join((rule.__doc__ or "").split())
    assert re.fullmatch(r"[ST]\d+: .+ \[.+\]\.", text), text
    assert text[: text.index(":")] in CODES


def test_there_is_no_code_without_meaning() -> None:
    folder = Path(topologies.__file__).parents[1]
    written = {
        code
        for path in (*folder.glob("rules/*.py"), *folder.glob("topologies/*.py"))
        if path.name != "base.py"
        for code in re.findall(r'"([ST]\d+)"', path.read_text(encoding="utf-8"))
    }
    assert written | {"S02"} | UNEXPRESSED.keys() == CODES.keys()
