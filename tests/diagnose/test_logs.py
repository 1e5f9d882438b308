"""The logs of all nodes as one stream: printed ones merged by corrected time, whatever happens to the connections."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from provision.diagnose import logs
from provision.diagnose.logs import Part
from provision.errors import ConnectionLost
from provision.facts.system import ClockValue
from tests.modules.world import Node, cluster, container, containers, running

EVERYTHING = Part()


class Talking(Node):
    """``texts`` is the log of any container; where a line says LOST the connection breaks, once."""

    def pipe(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        self.shown.append(script)
        before, lost, after = self.texts.partition("LOST\n")
        yield before.encode()
        if lost:
            self.texts = before + after
            raise ConnectionLost("the connection broke", node=self.name)


def talking(*texts: str, ahead: float = 0.0) -> Any:
    """Nodes with these logs; ``ahead``: seconds by which the second's clock is wrong."""
    made = running(cluster())
    made.nodes = [Talking(n.index, n.settings, n.facts, texts=text) for n, text in zip(made.nodes, texts, strict=True)]
    for node, offset in zip(made.nodes, (0.0, ahead), strict=True):
        node.facts["clock"] = ClockValue(epoch=1000.0 + offset, when=(1000.0, 1000.0))
    return made


def told(made: Any, part: Part = EVERYTHING) -> list[str]:
    return [f"{line.process}: {line.text}" for batch in logs.printed(logs.sources(made), part) for line in batch]


A = "2026-01-01T00:00:01Z a\n2026-01-01T00:00:03Z c\n"
B = "2026-01-01T00:00:02Z b\n"
AT = 1767225600.0
"""2026-01-01, seconds since the epoch."""


def test_printed_logs_are_merged_by_time() -> None:
    assert told(talking(A, B)) == ["head: a", "worker1: b", "head: c"]


def test_a_clock_that_is_ahead_is_corrected() -> None:
    assert told(talking(A, B, ahead=1.5)) == ["worker1: b", "head: a", "head: c"]


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        (Part(since=AT + 2), "b c"),
        (Part(until=AT + 2), "a b"),
        (Part(since=AT + 1.5, until=AT + 2.5), "b"),
        (Part(until=AT), ""),
    ],
)
def test_since_and_until(part: Part, shown: str) -> None:
    assert [line.split()[-1] for line in told(talking(A, B), part)] == shown.split()


def test_a_lost_connection_loses_no_line_and_gives_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PAUSE", 0.0)
    made = talking(A.replace("\n2026", "\nLOST\n2026", 1), B)

    assert told(made) == ["head: a", "worker1: b", "head: c"]
    assert "--since 2026-01-01T00:00:01Z " in made.nodes[0].shown[1]


def test_a_log_that_cannot_be_read_is_said_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PAUSE", 0.0)
    made = talking("LOST\n" * 3 + A, B)

    assert any("log lost: the connection broke" in line for line in told(made))
    assert "worker1: b" in told(made)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part(), "docker logs --timestamps --tail all "),
        (Part(since=AT, tail="5"), "docker logs --timestamps --tail 5 --since 2026-01-01T00:00:00.000000Z "),
    ],
)
def test_what_docker_is_asked(part: Part, words: str) -> None:
    made = talking("", "")

    told(made, part)

    assert words in made.nodes[0].shown[0]
    assert "--follow" not in made.nodes[0].shown[0]


def test_more_logs_than_a_node_runs_commands() -> None:
    made = talking(A, B)
    made.nodes[0].facts["containers"] = containers(*(container(f"p{n}") for n in range(12)))

    assert len(told(made)) == 12 * 2 + 1


def test_only_some_processes() -> None:
    assert [s.container.process for s in logs.sources(talking("", ""), ["worker1"])] == ["worker1"]


@pytest.mark.parametrize("python", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_the_script_of_a_stream_gives_every_line_of_every_log(count: int, python: bool) -> None:
    docker = 'docker() { for last; do :; done; echo "1 $last"; sleep 0.1; printf "2 %s" "$last"; }\n'
    without = "" if python else "command() { return 1; }\n"
    script = docker + without + logs.stream_script([(f"id{n}", "", "all") for n in range(count)])

    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=20)

    letters = [""] if count == 1 else [logs.letter(place) for place in range(count)]
    wanted = [f"{mark}{number} id{n}" for n, mark in enumerate(letters) for number in (1, 2)]
    got = done.stdout.splitlines()
    assert done.stderr == ""
    if python or count == 1:
        assert sorted(got) == sorted(wanted)
    else:  # sh's read gives no last line without an end
        assert sorted(got) == sorted(line for line in wanted if " id" in line and line.split()[0].endswith("1"))
