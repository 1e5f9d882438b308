"""A sweep of pings: what its script does with a tool that loses, hangs and is busy, and what its lines say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.ping_sweep import Ask, Limits, Sweep, read, script

TOOL = """\
#!/bin/sh
case $6 in
10.0.0.3) sleep 3; exit 1 ;;
10.0.0.4) [ -e {busy} ] && {{ rm {busy}; echo 'hccn_tool is busy, please try again.'; exit 11; }} ;;
esac
echo "device $2 PING $6"
case $6 in 10.0.1.*) echo '3 packets transmitted, 0 received, 100.00% packet loss'; exit 1 ;; esac
echo "recv seq=0,time=0.1ms"
echo "${{8:-3}} packets transmitted, ${{8:-3}} received, 0.00% packet loss"
"""


def sweep(folder: Path, asks: list[Ask], limits: Limits, shell: str = "sh") -> Sweep:
    tool = folder / "hccn_tool"
    tool.write_text(TOOL.format(busy=folder / "busy"))
    tool.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "LC_ALL": "C"}
    done = subprocess.run([shell], input=script(asks, limits), env=env, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return read(done.stdout.splitlines())


@pytest.mark.rehearsal
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_counts_go_to_hccs_pings_only_and_lost_groups_are_given_up(shell: str, tmp_path: Path) -> None:
    (tmp_path / "busy").touch()
    asks = [
        Ask(0, "ping", "10.0.0.1", ("d0", "n1")),
        Ask(1, "hccs_ping", "10.0.0.2", ("d1", "n1")),
        *[Ask(device, "ping", f"10.0.1.{device}", (f"d{device}", "n2")) for device in range(2, 6)],
        Ask(6, "ping", "10.0.0.4", ("d6", "n1")),
    ]
    found = sweep(tmp_path, asks, Limits(packets=7, give_up=3), shell)
    pings = {number: answer.ping for number, answer in found.answers.items()}
    assert [(number, ping.device, ping.sent) for number, ping in pings.items() if ping] == [
        (0, 0, 3), (1, 1, 7), (2, 2, 3), (3, 3, 3), (4, 4, 3), (6, 6, 3),
    ]  # fmt: skip
    assert (found.left, found.lost, found.done, found.ended) == ({5}, 3, 7, "")


@pytest.mark.rehearsal
def test_calls_and_the_whole_end_in_time(tmp_path: Path) -> None:
    found = sweep(tmp_path, [Ask(0, "ping", "10.0.0.3")] * 4, Limits(deadline=2, call=1))
    assert found.answers[0].said == "no answer in time"
    assert found.ended == "over"
    assert len(found.answers) < 4


@pytest.mark.rehearsal
def test_a_node_without_the_tool() -> None:
    done = subprocess.run(["sh"], input=script([Ask(0, "ping", "10.0.0.1")], Limits()), capture_output=True, text=True)
    assert read(done.stdout.splitlines()).ended == "missing"


def test_lines_tell_what_is_settled_as_they_come() -> None:
    found = Sweep()
    lines = ["@@ 0 0", "device 0 PING 10.0.0.1", "3 packets transmitted, 3 received, 0.00% packet loss", "@@ left 1"]
    assert [found.hear(line) for line in lines] == [True, False, False, True]
    assert (found.done, found.lost) == (2, 0)
    assert (
        read(["@@ 0 12", "permission denied: pls check"]).answers[0].said
        == "exit status 12: permission denied: pls check"
    )
    assert read(["@@ 0 124"]).answers[0].said == "no answer in time"


@given(st.lists(st.text(max_size=20) | st.sampled_from(["@@ 1 0", "@@ left", "@@ 1", "@@ x y", "@@ ", "@@ hangs"])))
def test_no_output_makes_it_raise(lines: list[str]) -> None:
    assert read(lines).lost <= len(lines)
