"""How log lines are shown: prefixes, colours, folded repeats that lose nothing but times, JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from provision.diagnose.merge import LogLine
from provision.render.log_lines import PATIENCE, Folding, Plain, json_lines

PAIRS = [("n10", "head"), ("n9", "rank")]
NAMES = [("n1", "head"), ("n2", "worker1")]


def line(text: str, order: int = 0, at: float = 0.0, *, note: bool = False) -> LogLine:
    return LogLine(at, order, "1970-01-01T00:00:00Z", *NAMES[order], text, note)


def test_a_prefix_of_one_width_and_the_time() -> None:
    plain = Plain(NAMES, stamps=True)
    assert plain.text([line("a"), line("b", 1), line("gone", note=True)], 0.0).splitlines() == [
        "n1/head    | 1970-01-01T00:00:00.000000Z a",
        "n2/worker1 | 1970-01-01T00:00:00.000000Z b",
        "n1/head    | 1970-01-01T00:00:00.000000Z [gone]",
    ]


def test_a_narrow_terminal_has_no_padding() -> None:
    assert Plain(NAMES, width=50).text([line("a")], 0.0) == "n1/head | a\n"


def test_colours_of_processes_and_of_what_is_loud() -> None:
    text = Plain(NAMES, colour=True, width=100).text([line("ERROR 11-24 06:03:01 [core.py:1] x")], 0.0)
    assert text == "\x1b[36mn1/head   \x1b[0m | \x1b[31mERROR 11-24 06:03:01 [core.py:1] x\x1b[0m\n"


def test_on_a_terminal_nothing_moves_the_cursor() -> None:
    lines = [line("load  0%\rload 99%\r"), line("a\x1b[2Jb\x1b]0;title\x07c\x07")]
    assert Plain(NAMES, width=100).text(lines, 0.0) == "n1/head    | load 99%\nn1/head    | abc\n"
    assert "\x1b[2J" in Plain(NAMES).text(lines, 0.0), "a file gets what was said"


def test_repeats_of_one_process_are_counted() -> None:
    plain = Plain(NAMES, folding=Folding())
    said = [line("x 06:03:01"), line("x 06:03:02"), line("other", 1), line("x 06:03:03"), line("y")]
    assert plain.text(said, 0.0).splitlines() == [
        "n1/head    | x 06:03:01",
        "n2/worker1 | other",
        "n1/head    | [… repeated 2 times]",
        "n1/head    | y",
    ]
    assert plain.rest() == ""


def test_numbers_that_differ_are_no_repeat() -> None:
    assert Plain(NAMES, folding=Folding()).text([line("step 1"), line("step 2")], 0.0).count("\n") == 2


def test_a_count_is_told_while_repeats_go_on_and_at_the_end() -> None:
    plain = Plain(NAMES, folding=Folding())
    plain.text([line("x"), line("x")], 0.0)
    assert plain.text([], PATIENCE - 1) == ""
    assert "repeated 1 time]" in plain.text([], PATIENCE + 1)
    plain.text([line("x")], PATIENCE + 2)
    assert "repeated 1 time]" in plain.rest()


def test_the_same_line_of_many_processes_is_one() -> None:
    plain = Plain(NAMES, folding=Folding())
    assert plain.text([line("a"), line("x"), line("x", 1)], 0.0).splitlines() == [
        "n1/head    | a",
        "n[1:2]/head,worker1 | x",
    ]


def test_nodes_and_processes_of_one_line_stand_in_one_order() -> None:
    many = [LogLine(float(n), n, "", node, process, "x") for n, (node, process) in enumerate(PAIRS)]
    assert Plain(PAIRS, folding=Folding()).text(many, 0.0) == "n[9:10]/rank,head | x\n"


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from("abc")), max_size=40), st.integers(1, 8))
def test_folding_keeps_every_line_of_every_process_in_order(said: list[tuple[int, str]], size: int) -> None:
    lines = [line(text, order, float(at)) for at, (order, text) in enumerate(said)]
    folding = Folding()
    shown = [each for start in range(0, len(lines), size) for each in folding.fold(lines[start : start + size], 0.0)]
    shown += folding.rest()
    for order in (0, 1):
        got: list[str] = []
        for each in shown:
            for own in (each.line, *each.others):
                if own.order == order:
                    got += got[-1:] * int(own.text.split()[2]) if own.note else [own.text]
        assert got == [text for number, text in said if number == order]


def test_json_has_corrected_and_own_time() -> None:
    (text,) = json_lines()([line("(EngineCore_DP0 pid=1) WARNING 11-24 06:03:01 [a.py:1] é", at=2.0)]).splitlines()
    assert json.loads(text) == {
        "time": "1970-01-01T00:00:02.000000Z",
        "stamp": "1970-01-01T00:00:00Z",
        "node": "n1",
        "process": "head",
        "level": "WARNING",
        "text": "(EngineCore_DP0 pid=1) WARNING 11-24 06:03:01 [a.py:1] é",
        "note": False,
    }
