"""Frames and their answers: the parser by itself, and both together through the shells of this machine."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.transport.framing import WATCH_SECONDS, Answer, Script, frame, new_mark, order, stream_frame

MARK = "qnext-000000000000000000000000"
SHELLS = [
    pytest.param(
        shell,
        marks=[
            pytest.mark.rehearsal,
            pytest.mark.skipif(not shutil.which(shell[0]), reason=f"no {shell[0]} on this machine"),
        ],
    )
    for shell in (["sh"], ["dash"], ["bash"], ["busybox", "sh"])
]
THREE = [Script("a", 5), Script("b", 5), Script("c", 5)]


def answer(out: bytes, err: bytes, scripts: list[Script] = THREE, cap: int = 1000) -> Answer:
    got = Answer(MARK, scripts, cap=cap)
    got.feed(out.replace(b"@", MARK.encode()), err.replace(b"@", MARK.encode()))
    return got


WHOLE_OUT = b"motd\n@ begin 0 10.00\none@ 0 0 10.10\n@ 1 3 12.00\nthree\n@ 2 0 12.05\n@ end\n"
WHOLE_ERR = b"noise@ begin\ne1\n@ 1\n@ 2\n@ end\n"


def test_an_answer_is_told_apart() -> None:
    got = answer(WHOLE_OUT, WHOLE_ERR)
    assert got.done
    sections = got.sections()
    assert [(s.exit, s.stdout, s.stderr, s.seconds) for s in (sections[0], sections[1], sections[2])] == [
        (0, b"one", b"", 0.1),
        (3, b"", b"e1\n", 1.9),
        (0, b"three\n", b"", 0.05),
    ]


@given(st.lists(st.integers(0, 200), max_size=8), st.lists(st.integers(0, 80), max_size=8))
def test_pieces_of_any_size_give_the_same_answer(cuts: list[int], other_cuts: list[int]) -> None:
    got = Answer(MARK, THREE)
    for data, places, out in ((WHOLE_OUT, cuts, True), (WHOLE_ERR, other_cuts, False)):
        data = data.replace(b"@", MARK.encode())
        at = 0
        for place in [*sorted(places), len(data)]:
            piece = data[at:place]
            at = max(at, place)
            got.feed(piece if out else b"", b"" if out else piece)
    assert got.sections() == answer(WHOLE_OUT, WHOLE_ERR).sections()


def test_when_a_script_ran_is_as_exact_as_the_nodes_own_measures_allow() -> None:
    """The frame took 2.05 s on the node and was under way for 2.25 s here: that leaves 0.2 s for the way there."""
    sections = answer(WHOLE_OUT, WHOLE_ERR).sections(1000.0, 1002.25)
    spans = [sections[index].when for index in range(3)]
    assert spans == [
        pytest.approx((1000.0, 1000.3)),
        pytest.approx((1000.1, 1002.2)),
        pytest.approx((1002.0, 1002.25)),
    ]


def test_done_needs_both_streams() -> None:
    assert not answer(WHOLE_OUT, WHOLE_ERR[:-6]).done
    assert not answer(WHOLE_OUT[:-6], WHOLE_ERR).done
    assert answer(WHOLE_OUT[:-6], WHOLE_ERR).running is None


def test_the_late_one_is_the_one_that_ran() -> None:
    got = answer(b"@ begin 0 1.00\n@ 0 0 1.00\npart@ late 124 6.00\n", b"@ begin\n@ 0\ne@ late\n")
    assert got.done
    assert set(got.sections()) == {0, 1}
    late = got.sections()[1]
    assert (late.exit, late.timed_out, late.stdout, late.stderr, late.seconds) == (124, True, b"part", b"e", 5.0)


def test_noise_before_the_first_mark_is_dropped_and_kept_as_evidence_without_one() -> None:
    assert answer(b"noise", b"sudo: no\n").unframed() == (b"noise", b"sudo: no\n")
    assert not answer(b"noise", b"").started


def test_output_is_cut_at_the_cap_and_the_mark_is_found_behind_it() -> None:
    got = answer(
        b"@ begin 0 1.00\n" + b"x" * 5000 + b"@ 0 0 1.00\n@ end\n", b"@ begin\n@ 0\n@ end\n", [Script("a", 1)], cap=100
    )
    assert got.done
    assert got.sections()[0].stdout == b"x" * 100
    assert got.sections()[0].cut


def test_scripts_with_the_same_deadline_run_together_in_their_order() -> None:
    scripts = [Script("a", 10), Script("b", 5), Script("c", 10), Script("d", 5)]
    assert order(scripts) == [1, 3, 0, 2]
    text = frame(scripts, MARK)
    assert text.count("_qwatch 500 ") == 1
    assert text.count("_qwatch 1000 ") == 1


def test_a_script_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        frame([Script("a\0b", 1)], MARK)


def test_marks_differ() -> None:
    assert new_mark() != new_mark()


# ---- through real shells


def living(group: str) -> list[str]:
    """Processes of a group, but for dead ones that nobody has collected."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if process_group == group and state != "Z":
            found.append(stat.parent.name)
    return found


def ends(group: str) -> bool:
    """Whether the group's processes are gone, now or as soon as a watchdog looks again."""
    until = time.monotonic() + WATCH_SECONDS + 5
    while living(group):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def through(shell: list[str], scripts: list[Script], *, data: bytes = b"") -> Answer:
    mark = new_mark()
    done = subprocess.run(
        [*shell, "-s"],
        input=frame(scripts, mark, data=data).encode(),
        capture_output=True,
        start_new_session=True,
        check=False,
        timeout=30,
    )
    got = Answer(mark, scripts)
    got.feed(done.stdout, done.stderr)
    return got


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_run_frames_alike(shell: list[str]) -> None:
    scripts = [
        Script("echo out; echo err >&2; printf 'a\\0b'; exit 3", 5),
        Script("uname", 6),
        Script("if", 5),
        Script("cat /nonexistent", 5),
        Script("cat; false", 5),
        Script("kill -9 $(sh -c 'echo $PPID')", 5),
    ]
    got = through(shell, scripts)
    assert got.done
    sections = got.sections()
    assert [sections[n].exit for n in range(6)] == [3, 0, 2, 1, 1, 137]
    assert sections[0].stdout == b"out\na\0b"
    assert sections[0].stderr == b"err\n"
    assert sections[1].stderr == b""
    assert b"/nonexistent" in sections[3].stderr


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_end_what_is_late_with_its_children(shell: list[str]) -> None:
    scripts = [Script("echo quick", 0.3), Script("echo $$; (trap '' TERM; sleep 200) & sleep 200", 0.4)]
    got = through(shell, scripts)
    quick, late = got.sections()[0], got.sections()[1]
    assert (quick.timed_out, late.timed_out, late.exit) == (False, True, 124)
    assert 0.35 < late.seconds < 3.5
    assert ends(late.stdout.decode().strip())


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_feed_a_script(shell: list[str]) -> None:
    data = bytes(range(256)) * 1000
    assert through(shell, [Script("cat", 10)], data=data).sections()[0].stdout == data


@pytest.mark.parametrize("shell", SHELLS)
def test_half_a_frame_does_nothing(shell: list[str]) -> None:
    text = frame([Script("touch /tmp/qnext-never; echo ran", 5)], MARK)
    half = text[: text.rindex("} </dev/null")]
    done = subprocess.run([*shell, "-s"], input=half.encode(), capture_output=True, start_new_session=True, check=False)
    assert b"ran" not in done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_no_process_is_left_behind(shell: list[str]) -> None:
    mark = new_mark()
    text = frame([Script("true", 300), Script("true", 400)], mark).encode()
    for _ in range(10):
        child = subprocess.Popen(
            [*shell, "-s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        child.communicate(text, timeout=10)
        assert ends(str(child.pid)), "the watchdog or its sleep lives on"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_any_text_survives_quoting(text: str) -> None:
    quoted = "'" + text.replace("'", "'\\''") + "'"
    got = through(["sh"], [Script(f"printf %s {quoted}", 5)])
    assert got.sections()[0].stdout == text.encode()


def test_a_stream_frame_ends_with_its_status() -> None:
    child = subprocess.Popen(
        ["sh", "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert child.stdin
    assert child.stdout
    child.stdin.write(stream_frame("echo line; exit 5", MARK).encode())
    child.stdin.flush()
    lines = [child.stdout.readline() for _ in range(3)]
    child.stdin.close()
    child.stdout.close()
    child.stderr.close()  # type: ignore[union-attr]
    child.wait(10)
    assert lines[1:] == [b"line\n", f"{MARK} end 5 0\n".encode()]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_stream_frame_that_comes_in_pieces_runs_to_its_end(shell: list[str]) -> None:
    """What waits for the end of stdin must not take the frame's own last lines for a sign to end."""
    text = stream_frame("echo line; sleep 0.3; exit 5", MARK).encode()
    cut = text.index(b"exec 4<&-\nwait")
    with subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdin
        assert child.stdout
        for piece in (text[:cut], text[cut:]):
            child.stdin.write(piece)
            child.stdin.flush()
            time.sleep(0.2)
        out = child.stdout.read().decode()
    assert f"{MARK} end 5 0" in out
