"""A report of a failure for GitHub: what is in it, what can't break it, and what is cut where there is too much."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from provision.diagnose.diagnosis import Diagnosis, Evidence, Odd, ProcessLog, Proof, Step
from provision.diagnose.manifest import FileEntry, Manifest, NodeEntry, ProcessEntry
from provision.render.issue import LIMIT, hider, issue, title

GOLDEN = Path(__file__).with_name("issue.md")
ARGV = ("vllm", "serve", "/data/weights/Q", "--data-parallel-address", "10.1.2.3", "--api-key", "c4nary-argv")
VERSIONS = {"vllm": "0.18.0", "vllm-ascend": "0.18.0", "cann": "8.3.RC1", "driver": "25.2.0.1"}
LINE = "RuntimeError: connect to 10.1.2.3:29500 (atlas-1) failed ``` @someone #12 <b>"

MANIFEST = Manifest(
    cluster="prod",
    taken=1_769_846_400.0,
    tool="qnext-provision 0.9.0",
    command="up",
    error="rank-1 on atlas-2 exited with 1",
    topology="data-parallel",
    hardware="atlas-800-a3",
    model="/data/weights/Q",
    nodes=(
        NodeEntry("atlas-1", 0, "worker-0", "10.1.2.3", versions=VERSIONS),
        NodeEntry("atlas-2", 1, "worker-1", "10.1.2.4", versions={**VERSIONS, "driver": "25.2.1.1"}),
        NodeEntry("atlas-3", 2, "worker-2", "10.1.2.5", missing="no answer from 10.1.2.5"),
    ),
    processes=(
        ProcessEntry("head", "atlas-1", rank=0, container="prod-head", state="running", argv=ARGV),
        ProcessEntry(
            "rank-1", "atlas-2", rank=1, headless=True, state="exited", exit_code=1, argv=(*ARGV, "--headless")
        ),
    ),
    files=(FileEntry("worker-0/host/journal.txt", "journal", problem="journalctl: not found"),),
)
LOGS = (
    ProcessLog("atlas-1", "head", "INFO waiting for 10.1.2.4\nHF_TOKEN=c4nary-log\n"),
    ProcessLog("atlas-2", "rank-1", f"INFO start\n{LINE}\n", 1, cut=True),
)
FIRST = Proof(
    "atlas-2",
    "rank-1",
    LINE,
    "2026-01-31 08:00:01",
    excerpt=f"INFO before\npassword: c4nary-excerpt\n{LINE}\nINFO after",
)
FOUND = Diagnosis(
    failed=True,
    known=True,
    sentence="rank-1 on atlas-2 could not reach the head at 08:00:01 (see @someone, #12)",
    title="The head of the group can't be reached",
    node="atlas-2",
    process="rank-1",
    explanation="Nothing listens on the head's port, or a firewall is between.",
    remedy="open port 29500 on atlas-1",
    proof=(FIRST, replace(FIRST, node="atlas-1", process="head", line="WARNING rank 1 is missing", excerpt="")),
    chain=(Step("atlas-1", "head", "A rank is gone", "2026-01-31 08:00:02", 1.0, "ERROR lost rank 1"),),
    silent=(Odd("atlas-1", "head", "no line since 08:00:00"),),
    earliest=(FIRST,),
    missing=("atlas-3",),
    offsets={"atlas-2": 90.0},
)
EVIDENCE = Evidence(MANIFEST, LOGS)


def test_the_report_is_as_it_was() -> None:
    """Look at the difference; where it is meant: write ``issue(EVIDENCE, FOUND)`` to the golden file."""
    assert issue(EVIDENCE, FOUND) == GOLDEN.read_text(encoding="utf-8")


def test_no_secret_is_in_it() -> None:
    assert "c4nary" not in issue(EVIDENCE, FOUND)


def test_anonymous_names_and_addresses_are_others_and_the_same_everywhere() -> None:
    text = issue(EVIDENCE, FOUND, anonymous=True)
    assert not re.search(r"atlas-[123]|10\.1\.2\.|\bprod\b", text)
    assert "atlas-800-a3" in text
    assert "connect to 10.0.0.1:29500 (node-1) failed" in text
    assert "--data-parallel-address 10.0.0.1" in text
    assert "25.2.0.1" in text  # a version, though it looks like an address


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("127.0.0.1:8000 0.0.0.0 ::1 ::", "127.0.0.1:8000 0.0.0.0 ::1 ::"),
        ("atlas-12 xatlas-1 ATLAS-1.", "atlas-12 xatlas-1 node-1."),
        ("10.1.2.5, 192.168.1.9 and 192.168.1.9", "10.0.0.3, 10.0.0.4 and 10.0.0.4"),
        ("[2001:db8::1]:80 fe80::2%eth0", "[fd00::4]:80 fd00::5%eth0"),
        ("at 08:00:01, 2026-01-31T08:00:01", "at 08:00:01, 2026-01-31T08:00:01"),
        ("link aa:bb:cc:dd:ee:ff", "link 02:00:00:00:00:00"),
        ("vllm 0.18.0.1.2 300.1.2.3", "vllm 0.18.0.1.2 300.1.2.3"),
        ("prod-head on atlas-3", "cluster-head on node-3"),
    ],
)
def test_what_is_replaced(text: str, hidden: str) -> None:
    assert hider(EVIDENCE)(text) == hidden


def test_text_of_logs_mentions_nobody_and_closes_no_fence() -> None:
    text = issue(EVIDENCE, FOUND)
    fence = ""
    outside: list[str] = []
    for line in text.splitlines():
        mark = re.match(r"`{3,}", line)
        if mark and not fence:
            fence = mark[0]
        elif line == fence:
            fence = ""
        elif not fence:
            outside.append(re.sub(r"`[^`]*`", "", line))
    assert fence == ""
    assert not re.search(r"@someone|(?<!&)#12|<b>", "\n".join(outside))


def _large(nodes: int) -> tuple[Evidence, Diagnosis]:
    names = [f"atlas-{number:04}" for number in range(nodes)]
    made = replace(
        MANIFEST,
        nodes=tuple(NodeEntry(n, i, f"worker-{i}", versions={"driver": f"25.{i}"}) for i, n in enumerate(names)),
        processes=tuple(ProcessEntry(f"rank-{n}", n, argv=(*ARGV, "--rank", n)) for n in names),
    )
    logs = tuple(ProcessLog(n, f"rank-{n}", "`" * 5_000 + "\n" + "INFO and so on\n" * 500) for n in names)
    proof = tuple(Proof(n, f"rank-{n}", f"{LINE} {'x' * 9_000}", excerpt="y\n" * 5_000) for n in names)
    chain = tuple(Step(n, f"rank-{n}", "A rank is gone", line="z" * 5_000) for n in names)
    return Evidence(made, logs), replace(FOUND, proof=proof, earliest=proof, chain=chain)


@pytest.mark.parametrize("nodes", [1, 8, 64, 600])
def test_github_takes_it_however_much_there_is(nodes: int) -> None:
    text = issue(*_large(nodes))
    assert len(text) <= LIMIT
    assert "### 🐛 Describe the bug" in text
    assert "The first cause" in text
    assert ("left out to stay below GitHub's 65,536 characters: " in text) is (nodes > 8)
    assert text.endswith("</sub>\n")


def test_what_does_not_fit_at_all_is_ended_and_says_so() -> None:
    text = issue(*_large(8), limit=1_500)
    assert len(text) <= 1_500
    assert text.endswith("(cut here: GitHub takes no more)\n")


def test_files_from_anywhere_make_a_report_too() -> None:
    evidence = Evidence(Manifest(), (ProcessLog("", "vllm.log", "ValueError: no\n"),))
    text = issue(evidence, Diagnosis(failed=False, known=False, sentence=""))
    assert "No failure was found" in text
    assert "- versions: none were read" in text


def test_a_title_is_short_and_of_one_line() -> None:
    assert title(FOUND) == "[Bug]: The head of the group can't be reached"
    assert len(title(replace(FOUND, title="word\n" * 100))) < 130
