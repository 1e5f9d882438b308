"""Which lines of a server's log are errors, and how they are told."""

from __future__ import annotations

import re

import pytest

from provision.checks import runner
from provision.checks.log_scan import WANTED, errors
from provision.checks.policy import Choice
from provision.facts.logs import LogTails, LogTailsValue
from tests.checks.world import launched

WHO = "(EngineCore_DP1 pid=21)"
TRACEBACK = f"""\
{WHO} ERROR 11-24 10:05:56 [core.py:1512] Traceback (most recent call last):
{WHO} ERROR 11-24 10:05:56 [core.py:1512]   File "/usr/lib/python3/vllm/v1/core.py", line 444, in get_response
{WHO} ERROR 11-24 10:05:56 [core.py:1512]     raise RuntimeError(
{WHO} ERROR 11-24 10:05:56 [core.py:1512]                        ^^^^^^^^^^
{WHO} ERROR 11-24 10:05:56 [core.py:1512] FancyError: nothing that the catalogue knows
"""


@pytest.mark.parametrize(
    ("line", "kinds"),
    [
        ("INFO 11-24 06:00:00 [core.py:1] Loading weights took 3 s", []),
        ("(Worker_TP0 pid=9) WARNING 11-24 06:00:00 [x.py:1] ImportError: no flash attention", []),
        ("[ERROR] HCCL(123,python):2026-11-24-06:00:00.123 EI0006: Getting socket times out", ["hccl-link-timeout"]),
        ("EZ9999: Inner Error!", None),
        ("E19999: Inner Error!", None),
        (TRACEBACK, ["FancyError: nothing that the catalogue knows"]),
        ("DrvMngGetConsoleLogLevel failed. (ret=4)", []),
        ("(APIServer pid=1) ERROR 11-24 10:07:34 [serving.py:274] Error with model error=ErrorInfo(message='The model "
         "`qnext-no-such-model` does not exist.', type='NotFoundError', param='model', code=404)", []),
        ('INFO:     127.0.0.1:5 - "POST /v1/chat/completions HTTP/1.1" 404 Not Found', []),
        ("", []),
    ],
)  # fmt: skip
def test_lines(line: str, kinds: list[str] | None) -> None:
    found = [error.kind for error in errors(line)]
    if kinds is None:
        assert len(found) == 1
    elif kinds == ["hccl-link-timeout"]:
        assert [error.entry is not None for error in errors(line)] == [True]
    else:
        assert found == kinds


@pytest.mark.parametrize(
    "text",
    [TRACEBACK, "EI0006: x", "[ERROR] x", "Engine core died", "torch.OutOfMemoryError", "\x1b[31mERROR\x1b[0m x"],
)
def test_what_is_an_error_leaves_its_node(text: str) -> None:
    """The node's grep knows fewer classes than python's: the expression is one that both take."""
    assert re.search(WANTED, text.splitlines()[-1])
    assert "[[" not in WANTED
    assert "(?" not in WANTED


def test_equal_errors_are_one_finding_with_their_number_and_the_newest_line() -> None:
    two = launched()
    lines = [f"ERROR 11-24 06:00:0{n} [x.py:1] odd thing {n} happened" for n in range(3)]
    two.nodes[1].facts["log-tails"] = LogTailsValue({"worker1": "\n".join(lines)})
    (outcome,) = runner.run_launched(two, Choice(only=("log_scan",)))
    (finding,) = outcome.findings
    assert finding.node == "atlas-2"
    assert finding.summary.startswith("the log of worker1 tells of an error: odd thing 2 happened, 3 times, last at ")
    assert finding.observed == lines[2]


def test_a_probe_that_hung_is_told_as_such() -> None:
    two = launched()
    two.nodes[1].facts["log-tails"] = LogTailsValue({}, ("docker logs gave no answer within 30 s",))
    (outcome,) = runner.run_launched(two, Choice(only=("log_scan",)))
    assert outcome.status == "unknown"
    assert "log-tails" in outcome.findings[0].summary


def test_only_lines_that_match_are_asked_for() -> None:
    assert "grep" not in LogTails("c").script()
    assert (
        "docker logs --tail 9 \"$id\" 2>&1 | grep -aE -e 'it'\\''s' | tail -n 200 | base64"
        in LogTails("c", 9, "it's").script()
    )
