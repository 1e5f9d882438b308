"""A diagnosis on the terminal: the sentence first, the decisive words always there, nothing wider than the screen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from provision.diagnose.diagnosis import Diagnosis, Odd, Proof, Step
from provision.render.diagnosis import as_data, fit, lines

STAMP = "2026-01-31T08:00:01.500000000Z "
HEAD = "(EngineCore_DP4 pid=18595) ERROR 01-31 08:00:01 [core.py:708] "
OOM = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"
AROUND = [*(f"{STAMP}INFO line {n}" for n in range(6)), STAMP + HEAD + OOM, *(f"after {n}" for n in range(5))]

KNOWN = Diagnosis(
    failed=True,
    known=True,
    sentence="worker1 on atlas-2 ran out of NPU memory at 08:00:01; head on atlas-1 failed because of it 0.5 s later",
    title="an NPU has no memory left",
    id="npu-out-of-memory",
    node="atlas-2",
    process="worker1",
    explanation="Weights and KV cache together do not fit.",
    remedy="lower serve.max_model_len",
    commands=("qnext-provision lint -i cluster.yaml",),
    evidence=("check --only N07",),
    source="domain 12",
    confidence="high",
    proof=(
        Proof(
            "atlas-2", "worker1", STAMP + HEAD + OOM, "01-31 08:00:01", worker="EngineCore_DP4",
            excerpt="\n".join(AROUND), path="worker-1/worker1.log", number=7,
        ),
        Proof("atlas-2", "", "Killed process 7 (python3)", "01-31 08:00:02", source="kernel"),
        Proof("atlas-2", "worker1", "", "01-31 08:00:03"),
    ),
    chain=(Step("atlas-1", "head", "the engine did not start", after=0.5, line=f"{HEAD}EngineCore failed to start."),),
    silent=(Odd("atlas-3", "worker2", "no line since 07:59:00"), Odd("atlas-4", "worker3", "no line since 07:59:00")),
    late=(Odd("atlas-5", "worker4", "started 93 s after the first"),),
    missing=("atlas-6", "atlas-7", "worker8 on atlas-9"),
    offsets={"atlas-2": 90.0},
)  # fmt: skip

GOLDEN = """\
worker1 on atlas-2 ran out of NPU memory at 08:00:01; head on atlas-1 failed
because of it 0.5 s later

proof
  atlas-2 worker1 01-31 08:00:01 (EngineCore_DP4)
    | INFO line 3
    | INFO line 4
    | INFO line 5
  > | RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB
    | after 0
    | after 1
    | after 2
  atlas-2 01-31 08:00:02 | Killed process 7 (python3)

what followed
   +0.5 s  head on atlas-1 | the engine did not start

silent      worker2 on atlas-3, worker3 on atlas-4: no line since 07:59:00

late        worker4 on atlas-5: started 93 s after the first

missing     no evidence of atlas-[6:7], worker8 on atlas-9
clocks      corrected for clocks that differ: atlas-2 +90.0 s

why         Weights and KV cache together do not fit.
remedy      lower serve.max_model_len
run         qnext-provision lint -i cluster.yaml
fetch       check --only N07
confidence  high: the line itself says what failed
known as    npu-out-of-memory, [domain 12]
"""


def test_at_eighty_columns() -> None:
    assert "\n".join(lines(KNOWN, colour=False, width=80)) + "\n" == GOLDEN


def test_without_a_terminal_nothing_is_cut_or_wrapped() -> None:
    told = lines(KNOWN, colour=False)

    assert told[0] == KNOWN.sentence
    assert f"  > | {HEAD}{OOM}" in told


def test_verbose_shows_all_as_it_is() -> None:
    told = lines(KNOWN, colour=False, verbose=True)

    assert f"  > | {STAMP}{HEAD}{OOM}" in told
    assert "    | after 4" in told
    assert any("worker-1/worker1.log:7" in line for line in told)
    assert any("EngineCore failed to start." in line for line in told)


def test_colour_changes_no_word() -> None:
    import re

    painted = lines(KNOWN, colour=True, width=80)

    assert painted[0].startswith("\x1b[1;31m")
    assert [re.sub(r"\x1b\[[\d;]*m", "", line) for line in painted] == lines(KNOWN, colour=False, width=80)


def test_brackets_and_escapes_of_logs_are_text() -> None:
    line = "[red]RuntimeError[/red] \x1b[2J\x1b]0;title\x07 [bold]\tx\r"
    told = lines(replace(KNOWN, proof=(Proof("n", "p", line, excerpt=line),)), colour=True, width=80)

    assert any("[red]RuntimeError[/red]" in one for one in told)
    assert not any("\x1b[2J" in one or "\x07" in one or "\r" in one for one in told)


def test_much_is_folded() -> None:
    many = replace(
        KNOWN,
        chain=tuple(Step(f"n{n}", "w", "ended", after=float(n)) for n in range(12)),
        silent=tuple(Odd(f"n{n}", "w", "never joined") for n in range(9)),
    )

    told = lines(many, colour=False)
    whole = lines(many, colour=False, verbose=True)

    assert "  … and 6 more (-v shows them)" in told
    assert any("w on n5 and 3 more: never joined" in line for line in told)
    assert not any(" more" in line for line in whole)


UNKNOWN = Diagnosis(
    failed=True,
    known=False,
    sentence="head on atlas-1 failed first: FooError: bar; the catalogue does not know this error",
    earliest=(
        Proof("atlas-1", "head", "FooError: bar", "08:00:01"),
        Proof("atlas-2", "worker1", "ConnectionError: peer", "08:00:02"),
    ),
)


def test_an_unknown_failure_shows_each_ranks_error_and_the_next_step() -> None:
    told = lines(UNKNOWN, colour=False, width=80, report="qnext-provision report --github -i cluster.yaml")

    assert "  atlas-1 head 08:00:01    | FooError: bar" in told
    assert "  atlas-2 worker1 08:00:02 | ConnectionError: peer" in told
    assert "run         qnext-provision report --github -i cluster.yaml" in told
    assert "confidence  low: nothing says more; take it as where to begin reading" in told


def test_a_known_failure_needs_no_report() -> None:
    assert not any(
        "report --github" in line for line in lines(KNOWN, colour=False, report="qnext-provision report --github")
    )


def test_nothing_failed() -> None:
    fine = Diagnosis(failed=False, known=False, sentence="nothing has failed: 2 processes run", missing=("atlas-2",))

    assert lines(fine, colour=False, width=80) == [
        "nothing has failed: 2 processes run",
        "",
        "missing     no evidence of atlas-2",
    ]


def test_files_that_tell_no_node() -> None:
    bare = replace(KNOWN, chain=(Step("", "head", "it ended", after=1.0),), proof=(Proof("", "worker1", "x"),))

    told = lines(bare, colour=False)

    assert "   +1.0 s  head | it ended" in told
    assert "  worker1" in told


@pytest.mark.parametrize(
    ("line", "id", "kept"),
    [
        ("short line", "", "short line"),
        (STAMP + "x" * 30, "", "x" * 30),
        (STAMP + HEAD + OOM[:38], "", OOM[:38]),
        ("a" * 200 + " RuntimeError: NPU out of memory. " + "b" * 200, "npu-out-of-memory", "NPU out of memory"),
        ("a" * 200 + " ValueError: no head " + "b" * 200, "", "ValueError"),
        ("a" * 200, "", "a" * 39),
        ("x" * 300 + " EI0006", "", "EI0006"),
    ],
)
@pytest.mark.parametrize("width", [40, 61])
def test_a_wide_line_keeps_its_decisive_words(line: str, id: str, kept: str, width: int) -> None:
    shown = fit(line, width, id)

    assert len(shown) <= width
    assert kept in shown


def test_as_data() -> None:
    data = json.loads(json.dumps(as_data(KNOWN)))

    assert data["format"] == 1
    assert (data["sentence"], data["proof"][0]["line"]) == (KNOWN.sentence, STAMP + HEAD + OOM)
    assert data["offsets"] == {"atlas-2": 90.0}
