"""The tails of all logs: what comes back is what docker kept, byte by byte."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.facts.logs import LogTails
from provision.results import Result

DOCKER = """\
case $1 in
ps) [ "$4" = "label=qnext.cluster=qnext" ] && printf '%s\\n' 'aaa head' 'bbb worker1';;
logs) [ "$3" = 5 ] || exit 1
  case $4 in
  aaa) echo 'one line'; echo 'another' >&2;;
  bbb) printf 'no end of line \\303\\244';;
  esac;;
esac
"""


def test_stdout_and_stderr_of_every_container(look: Any, tool: Any) -> None:
    tool("docker", DOCKER)

    value = look(LogTails("qnext", lines=5))

    assert value.tails == {"head": "one line\nanother\n", "worker1": "no end of line ä"}
    assert value.problems == ()


def test_no_container(look: Any, tool: Any) -> None:
    tool("docker", "exit 0\n")

    assert look(LogTails("qnext")).tails == {}


def test_a_docker_that_hangs_is_a_problem() -> None:
    value = LogTails("qnext").parse(Result("log-tails", 124, "head aGk=\n", timed_out=True))

    assert value.tails == {"head": "hi"}
    assert value.problems == ("docker logs gave no answer within 30 s",)


@given(st.text())
def test_any_answer_is_read(text: str) -> None:
    LogTails("qnext").parse(Result("log-tails", 0, text))
