"""docs/checks.md tells of every check what the check's own file says."""

from __future__ import annotations

import re
from pathlib import Path

from provision import registry

PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def test_the_page_lists_every_check_as_it_is() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| [SNXP][0-9]{2} ", line)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    told = sorted(tuple(row[:5]) for row in rows)
    rules = sorted(
        (c.code, c.name, c.scope, c.level, " ".join(c.doc.partition("\n\n")[0].split())) for c in registry.checks()
    )
    assert told == rules
    assert all(len(row) == 6 and row[5] for row in rows)


def test_every_check_says_its_rule_in_its_first_line_and_has_a_code_of_its_own() -> None:
    checks = registry.checks()
    assert len({check.code for check in checks}) == len(checks)
    for check in checks:
        assert check.doc.split("\n")[0].endswith("."), check.name
