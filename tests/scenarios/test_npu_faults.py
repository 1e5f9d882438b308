"""What can be wrong with NPUs and their tools: ``check`` names the node and the die, and says how bad it is."""

from __future__ import annotations

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Answer, Program

pytestmark = pytest.mark.rehearsal


def finding(answer: Answer, code: str) -> str:
    """The lines that tell a finding, with its observed and expected values and its remedy."""
    lines = answer.stderr.splitlines()
    starts = [i for i, line in enumerate(lines) if len(line.split()) > 1 and line.split()[1] == code]
    assert starts, f"no {code} in\n{answer.stderr}"
    rest = lines[starts[0] + 1 :]
    indented = next((i for i, line in enumerate(rest) if not line.startswith(" ")), len(rest))
    return "\n".join(lines[starts[0] : starts[0] + 1 + indented])


def test_a_link_that_is_down_warns_on_a3_and_fails_on_a2(a3: Practice, a2: Practice, program: Program) -> None:
    a3.fault("node2", "npu/3/link", "DOWN")
    a2.fault("node2", "npu/3/link", "DOWN")

    on_a3 = program("check", "-i", a3.inventory, "--quick")
    on_a2 = program("check", "-i", a2.inventory, "--quick")

    assert (on_a3.exit, on_a2.exit) == (0, 3)
    assert finding(on_a3, "N20").startswith("warn")
    for answer in (on_a3, on_a2):
        assert "node2: NPU network link is down on davinci 3" in finding(answer, "N20")
        assert "remedy" in finding(answer, "N20")


def test_alarm_busy_and_lost_dies_are_named(a2: Practice, program: Program) -> None:
    a2.fault("node1", "npu/3/health", "Alarm")
    a2.fault("node1", "npu/5/process", "python3 4711 30000")
    a2.fault("node2", "npu/6/missing")

    answer = program("check", "-i", a2.inventory, "--quick", "--json")

    assert answer.exit == 3
    found = {(f["node"], f["code"]): f for check in answer.json()["checks"] for f in check["findings"]}
    alarm = next(f for f in found.values() if "Alarm" in f["summary"] + f["observed"])
    assert (alarm["node"], alarm["level"]) == ("node1", "fail")
    assert "3" in alarm["summary"]
    busy = next(f for f in found.values() if "4711" in f["summary"] + f["observed"])
    assert (busy["node"], busy["level"]) == ("node1", "fail")
    assert "python3" in busy["summary"] + busy["observed"]
    lost = [f for (node, _), f in found.items() if node == "node2"]
    assert any("davinci 6 missing: 7 of 8" in f["summary"] for f in lost)
    assert all(f["remedy"] for f in found.values())


def test_tls_switches_that_differ(a2: Practice, program: Program) -> None:
    a2.fault("node2", "npu/2/tls", "1")

    answer = program("check", "-i", a2.inventory, "--quick")

    assert answer.exit == 3
    assert "TLS" in answer.stderr
    assert "node2" in answer.stderr


def test_a_driver_that_does_not_answer(a2: Practice, program: Program) -> None:
    a2.fault("node1", "npu/driver", "broken")

    answer = program("check", "-i", a2.inventory, "--quick")

    assert answer.exit == 3
    assert "-8020" in answer.stderr
