"""A tool that hangs costs its deadline and no more. In a file of its own: half a minute of waiting for nothing."""

from __future__ import annotations

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]


def test_a_hanging_npu_smi_costs_its_deadline_and_is_named(a2: Practice, program: Program) -> None:
    a2.fault("node2", "command/npu-smi", "hang")

    answer = program("check", "-i", a2.inventory, "--quick")

    assert answer.exit == 3
    assert answer.seconds < 50, "30 s for info, 10 s for the mapping"
    assert "N04 node2: /usr/local/bin/npu-smi info hangs: no answer within 30 s" in answer.stderr
    assert len([line for line in answer.stderr.splitlines() if line.startswith("fail ")]) == 1, "told once"
