"""What ``check`` tells on a terminal and in pipes: a whole run, and its parts."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from provision.events import TaskEnded
from provision.findings import CheckOutcome, CheckStatus, Comparison, Measure, comparison
from provision.render.checked import account, counted, found, mendable
from provision.render.live import STYLES, Live, styled
from provision.render.plain import Plain
from tests.render.examples import ILL, NODES, foreign, outcomes, run, told


def plain(command: str = "check", verbose: int = 0, width: int = 80) -> str:
    stream = io.StringIO()
    sink = Plain(stream, verbose=verbose, width=width)
    for event in run(command):
        sink.handle(event)
    sink.close()
    return stream.getvalue()


WHOLE = """\
check: c.yaml, 16 nodes
connected   atlas-[1:16] (0.3 s)
== checks (atlas-[1:16])
fail        N07 atlas-2: davinci 3: health is Alarm
          observed  Alarm
          expected  OK
            remedy  npu-smi info -t health -i 1 -c 1
fail        N09 atlas-[4:5],atlas-9: container train-job of <script>alert('&')</script> uses davinci 0
          observed  pid 7 (atlas-[4:5])
                    pid 8 (atlas-9)
          expected  free
            remedy  ask root; `docker stop train-job` would release it
fail        X03 atlas-9: driver differs
          observed  24.1.0
          expected  25.5.1
            remedy  bring all nodes to one HDK release
warn        N23 atlas-[1:16]: vm.max_map_count is 65530
            remedy  sysctl -w vm.max_map_count=262144
waived      N19 atlas-5: firewalld is active
            waived  ticket 4711 (until 2030-01-01)
              more  qnext-provision explain N07
                    or N09, X03, N23
mendable    N23 atlas-[1:16]: `check --fix` would set vm.max_map_count to 262144
unknown     N17 hostname: getent: no answer within 10 s
skipped     N12 image, X05 same_tls: the image is not there yet
passed      N01 identity    N26 read_speed  X06 fabric
same        3 things compared, 2 differ; -v shows all
  blocks    X03 driver
             25.5.1  atlas-[1:8],atlas-[10:16]
           > 24.1.0  atlas-9
  differs   X13 governor: no value that most nodes have
             powersave    atlas-[1:8]
             performance  atlas-[9:16]
"""
ENDS = """\
measured
  reading: 1200 MB/s  atlas-[1:8]  (cold)
           1511 MB/s  atlas-[9:16]  (cold)
checks      12 on 16 nodes: 3 fail, 1 unknown, 2 warn, 1 waived, 3 pass, 2 skipped
failed      checks: atlas-2,atlas-9 (0.0 s)
failed at 'checks' (9.4 s)
            atlas-2: 1 failed
          recorded  /runs/1
"""


def test_the_whole_account_of_check() -> None:
    text = plain()
    assert text.startswith(WHOLE)
    assert text.endswith(ENDS)
    assert text[len(WHOLE) : -len(ENDS)].startswith("NPU ping: 222 of 240 pairs well, 1 slow, 1 in part lost, 1 lost")


def test_what_findings_tell_is_not_told_again() -> None:
    events = [
        replace(event, message="2 findings: N07, N09")
        if isinstance(event, TaskEnded) and event.node == "atlas-2"
        else event
        for event in run()
    ]
    stream = io.StringIO()
    sink = Plain(stream)
    for event in events:
        sink.handle(event)
    assert "failed      checks: atlas-2,atlas-9 (0.0 s)\n" in stream.getvalue()


def test_up_is_terse() -> None:
    text = plain("up")
    assert "more  " not in text
    assert "same  " not in text
    assert "NPU ping" not in text
    assert "mendable" not in text
    assert "waived      N19 atlas-5: firewalld is active\n" in text
    assert text.count("checks      12 on 16 nodes: 3 fail") == 1


def test_verbose_up_and_verbose_check_tell_all() -> None:
    for command in ("up", "check"):
        text = plain(command, verbose=1)
        assert "  agree     firmware: 7.8.0.6.201\n" in text
        assert "explain N07" in text


def test_no_line_that_is_drawn_is_wider_than_asked() -> None:
    narrow = plain(width=40).splitlines()
    at = narrow.index("passed      N01 identity")
    assert narrow[at + 1 : at + 3] == ["            N26 read_speed", "            X06 fabric"]
    rows = [line for line in narrow if re.match(r" +\d+ atlas-\d+ ", line)]
    assert len(rows) == 16
    assert max(map(len, rows)) <= 40


@pytest.mark.parametrize("width", [40, 80, 120])
def test_on_a_terminal_every_line_fits(width: int) -> None:
    stream = io.StringIO()
    display = Live(stream, width=width, height=24)
    for event in run():
        display.handle(event)
    display.close()
    plainly = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n")
    long = [line for line in plainly.splitlines() if len(line.rstrip()) > width]
    assert not long
    assert "qnext-provision explain N07\n" in plainly, "commands are left whole"


def test_the_lost_pair_is_red() -> None:
    lines = [styled(line) for line in account(outcomes(), NODES, width=80)]
    row = next(line for line in lines if line.plain.startswith("   4 atlas-4"))
    assert [span.style for span in row.spans].count(STYLES["lost"]) == 1


def test_a_check_that_stands_unlike_on_nodes_is_named_with_them() -> None:
    mixed = [
        CheckOutcome("npu_free", "N09", "unknown", node="a", reason="npu-smi hangs"),
        CheckOutcome("npu_free", "N09", "pass", node="b"),
    ]
    lines = [line.text for line in account(mixed, ("a", "b"), width=80)]
    assert lines == ["unknown     N09 npu_free (a): npu-smi hangs", "checks      1 on 2 nodes: 1 unknown"]


def test_counts_are_of_checks_not_of_nodes() -> None:
    assert counted(outcomes()).text.endswith("12 on 16 nodes: 3 fail, 1 unknown, 2 warn, 1 waived, 3 pass, 2 skipped")
    assert counted([CheckOutcome("clock", "X08", "pass")]).text == "checks      1: 1 pass"


def test_a_difference_that_the_operator_lowered_or_waived_does_not_block() -> None:
    row = comparison("driver", {"a": "1", "b": "1", "c": "2"}, "fail")

    def effect(status: CheckStatus) -> str:
        shown = CheckOutcome("same_driver", "X03", status, exhibits=(row,))
        lines = [line.text for line in account([shown], ("a", "b", "c"), width=80)]
        return lines[lines.index(next(line for line in lines if line.startswith("same"))) + 1].split()[0]

    assert [effect(status) for status in ("fail", "warn", "waived")] == ["blocks", "differs", "waived"]


def test_things_that_agree_need_no_lines() -> None:
    same = CheckOutcome("x", "X99", "pass", exhibits=(comparison("os", {"a": "1", "b": "1"}), Comparison("none", ())))
    lines = [line.text for line in account([same], (), width=80)]
    assert lines[-2:] == ["same        2 things compared, all agree; -v shows all", "checks      1: 1 pass"]
    lines = [line.text for line in account([same], (), width=80, verbose=1)]
    assert lines[-3:-1] == ["  agree     os: 1", "  agree     none: not known of any node"]


def test_measures_of_the_whole_cluster_name_no_node() -> None:
    figure = CheckOutcome("collective", "X17", "pass", exhibits=(Measure("all-reduce", 0.31415, "s"),))
    assert [line.text for line in account([figure], (), width=80)][-3:-1] == ["measured", "  all-reduce: 0.314 s"]


def test_the_same_finding_on_a_node_is_told_once() -> None:
    lines = [line.text for line in found([told(ILL), told(ILL), told(foreign("atlas-4", 1))], NODES)]
    assert sum(line.startswith("fail") for line in lines) == 2
    assert lines[1] == "          observed  Alarm"


def test_what_passed_on_some_nodes_was_not_judged_on_the_others() -> None:
    ends = [CheckOutcome("npu_health", "N07", "pass", node=name) for name in ("a", "c")]
    ends.append(CheckOutcome("npu_health", "N07", "skipped", node="b", reason="npu-smi shows no NPU"))
    lines = [line.text for line in account(ends, ("a", "b", "c"), width=80)]
    assert lines[:2] == ["skipped     N07 npu_health (b): npu-smi shows no NPU", "passed      N07 npu_health"]


def test_where_to_read_more_is_said_once() -> None:
    lines = [line.text for line in found([told(foreign("a", 1)), told(ILL), told(foreign("b", 2))], (), explain=True)]
    assert [line.strip() for line in lines[-2:]] == ["more  qnext-provision explain N07", "or N09"]
    others = [told(replace(foreign("a", 1), summary=summary)) for summary in ("one", "two")]
    assert [line.text.split()[-1] for line in found(others, (), explain=True) if "explain" in line.text] == ["N09"]


def test_what_is_only_for_information_is_not_called_mendable() -> None:
    finding = replace(foreign("a", 1), fix="rmdir /x")
    assert [line.text for line in mendable([told(finding)], ())] == ["mendable    N09 a: `check --fix` would rmdir /x"]
    assert not list(mendable([told(replace(finding, level="info"))], ()))
