"""Many logs on one time line: every line once, each source in its own order, opened again without a seam."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.diagnose.merge import Clocks, Cursor, LogLine, Merger, instant, shown, stamped
from provision.facts.system import ClockValue


def line(at: float, order: int, text: str = "") -> LogLine:
    return LogLine(at, order, "", f"node{order}", "head", text)


@pytest.mark.parametrize(
    ("stamp", "when"),
    [
        ("1970-01-01T00:00:01.000000002Z", (1, 2)),
        ("1970-01-01T00:00:01Z", (1, 0)),
        ("1970-01-01T01:00:01.5+01:00", (1, 500_000_000)),
        ("1970-13-01T00:00:01.000000002Z", None),
        ("INFO", None),
        ("", None),
    ],
)
def test_what_stamps_say(stamp: str, when: tuple[int, int] | None) -> None:
    assert instant(stamp) == when


def test_a_line_without_a_stamp_is_kept_whole() -> None:
    assert stamped("Error response from daemon").text == "Error response from daemon"
    assert stamped("1970-01-01T00:00:01Z a b").text == "a b"


def test_times_are_shown_in_utc() -> None:
    assert shown(1.5) == "1970-01-01T00:00:01.500000Z"


# ---- clocks


def test_clocks_that_may_be_right_are_right() -> None:
    assert Clocks().offset(ClockValue(100.02, when=(100.0, 100.1))) == 0.0


def test_clocks_that_may_be_equal_are_equal() -> None:
    clocks = Clocks()
    first = clocks.offset(ClockValue(105.0, when=(100.0, 100.2)))
    assert first == pytest.approx(4.9)
    assert clocks.offset(ClockValue(105.05, when=(100.0, 100.3))) == first
    assert clocks.offset(ClockValue(90.0, when=(100.0, 100.0))) == -10.0


def test_an_unknown_clock_is_taken_as_it_is() -> None:
    assert Clocks().offset(ClockValue()) == 0.0


# ---- merging


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 5), max_size=4), st.floats(0, 1)), max_size=40))
def test_any_interleaving_gives_every_line_once_and_each_source_in_order(
    pieces: list[tuple[int, list[int], float]],
) -> None:
    merger, out, now = Merger(), [], 1000.0
    times = dict.fromkeys(range(4), 990.0)
    given_lines: dict[int, list[LogLine]] = {order: [] for order in range(4)}
    for order, steps, pause in pieces:
        now += pause
        lines = []
        for step in steps:
            times[order] += step / 4
            lines.append(line(times[order], order, str(len(given_lines[order]) + len(lines))))
        given_lines[order] += lines
        merger.add(order, lines, now)
        batch = merger.ready(now)
        assert batch == sorted(batch, key=lambda each: (each.at, each.order))
        out += batch
    out += merger.rest()
    for order, lines in given_lines.items():
        assert [each for each in out if each.order == order] == lines
    assert len(out) == sum(map(len, given_lines.values()))


@given(st.lists(st.lists(st.floats(0, 900), max_size=8), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_sources_that_all_talk_come_out_in_true_order(times: list[list[float]], random: object) -> None:
    merger, out = Merger(), []
    queues = {order: [line(at, order) for at in sorted(each)] for order, each in enumerate(times)}
    for order in queues:
        merger.expect(order, 1000.0)
    turns = [order for order, lines in queues.items() for _ in lines]
    random.shuffle(turns)
    for order in turns:
        merger.add(order, [queues[order].pop(0)], 1000.0)
        out += merger.ready(1000.0)
    out += merger.rest()
    assert out == sorted(out, key=lambda each: (each.at, each.order))


def test_a_silent_source_holds_nobody_up() -> None:
    merger = Merger(hold=0.3)
    merger.add(0, [line(10.0, 0)], 10.0)
    merger.add(1, [line(10.1, 1)], 10.1)
    assert merger.ready(10.1) == [line(10.0, 0)]
    merger.add(1, [line(10.5, 1)], 10.5)
    assert merger.ready(10.5) == [line(10.1, 1), line(10.5, 1)]


def test_a_source_that_begins_is_waited_for() -> None:
    merger = Merger(grace=1.0)
    merger.expect(0, 10.0)
    merger.add(1, [line(9.0, 1)], 10.0)
    assert merger.ready(10.2) == []
    merger.add(0, [line(8.0, 0)], 10.3)
    assert [each.at for each in merger.ready(10.7)] == [8.0, 9.0]


def test_a_clock_far_behind_holds_others_up_for_seconds_only() -> None:
    merger = Merger()
    merger.add(0, [line(100.0, 0)], 100.0)
    merger.add(0, [line(40.0, 0)], 104.0)
    merger.add(1, [line(100.5, 1)], 104.0)
    assert line(100.5, 1) in merger.ready(104.0)


def test_lines_of_one_process_stay_together_where_times_are_equal() -> None:
    merger = Merger()
    merger.add(1, [line(5.0, 1, "Traceback"), line(5.0, 1, "  File")], 9.0)
    merger.add(0, [line(5.0, 0, "INFO")], 9.0)
    assert [each.text for each in merger.rest()] == ["INFO", "Traceback", "  File"]


# ---- opening again


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
    st.integers(0, 3),
)
def test_a_log_opened_again_gives_no_line_twice_and_loses_none(
    said: list[tuple[int, str]], breaks: list[int], coarse: int
) -> None:
    """``coarse``: engines that read from a second on may give earlier lines again."""
    log, at = [], 100
    for step, text in said:
        at += step
        log.append(stamped(f"1970-01-01T00:{at // 60:02d}:{at % 60:02d}Z {text}"))
    cursor, got = Cursor(), []
    for stop in [*breaks, len(log)]:
        since = instant(cursor.reopen())
        again = [each for each in log if since is None or (each.when and each.when >= (since[0] - coarse, 0))]
        part = again[:stop] if stop < len(log) else again
        for place in range(0, len(part), 3):
            got += cursor.take(part[place : place + 3])
    assert got == log
