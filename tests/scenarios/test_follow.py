"""``logs -f`` on a rehearsal cluster: true order in spite of clocks; no line lost or twice when connections break."""

from __future__ import annotations

import json
import signal
import time

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]


def test_two_nodes_whose_clocks_differ_come_out_in_true_order(cpu: Practice, program: Program) -> None:
    cpu.fault("node2", "clock/skew", "100")
    shared.comes_up(program, cpu.inventory)

    answer = program("logs", "-i", cpu.inventory, "--json")

    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    first = {node: next(line for line in lines if line["node"] == node) for node in cpu.nodes}
    apart = [_seconds(first["node2"][key]) - _seconds(first["node1"][key]) for key in ("stamp", "time")]
    assert abs(apart[0] - apart[1] - 100) < 2, "the stamps are by the nodes' clocks, the times by ours"


def test_a_broken_connection_and_a_restart_lose_nothing(cpu: Practice, program: Program) -> None:
    shared.comes_up(program, cpu.inventory)
    with program.start("logs", "-i", cpu.inventory, "-f", "--json") as following:
        eventually(lambda: following.says("Application startup complete") and following.says("node2"), "both are read")
        cpu.fault("node1", "ssh/stopped")
        cpu.fault("node1", "ssh/drop_now")
        eventually(lambda: following.says("connection lost"), "the loss is told")
        cpu.docker("node1", "stop", "qnext-rehearsal-head")
        cpu.docker("node1", "start", "qnext-rehearsal-head")
        cpu.mend("node1", "ssh/stopped")
        eventually(lambda: following.says("connected again"), "the node is found again")
        time.sleep(4)
        following.signal(signal.SIGINT)
        answer = following.ended()

    assert answer.exit == 0, answer.text
    shown = [json.loads(line) for line in answer.stdout.splitlines()]
    own = [line["stamp"] + " " + line["text"] for line in shown if line["node"] == "node1" and not line["note"]]
    kept = cpu.docker("node1", "logs", "--timestamps", "qnext-rehearsal-head").splitlines()  # what stdout said
    assert len(own) == len(set(own)), "no line twice"
    assert [line for line in kept if line not in own][3:] == [], "none lost, but for what came after the end"
    assert sum("Application startup complete" in line for line in own) >= 1


def _seconds(stamp: str) -> float:
    hours, minutes, seconds = stamp[11:].rstrip("Z").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
