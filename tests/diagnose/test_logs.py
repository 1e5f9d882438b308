"""The logs of all nodes as one stream: merged by time when printed, as they come when followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from provision.diagnose import logs
from provision.errors import ConnectionLost
from tests.modules.world import Node, cluster, container, containers, running


class Talking(Node):
    """``texts`` are the lines of any container; ``steps`` what is seen afterwards."""

    def stream(self, script: str, *, deadline: float | None = None) -> Iterator[str]:
        self.shown.append(script)
        for line in self.texts.splitlines():
            if line == "LOST":
                raise ConnectionLost("the connection broke", node=self.name)
            yield line


def talking(*texts: str) -> Any:
    made = running(cluster())
    made.nodes = [Talking(n.index, n.settings, n.facts, texts=text) for n, text in zip(made.nodes, texts, strict=True)]
    return made


def told(lines: Iterator[logs.LogLine]) -> list[str]:
    return [f"{line.process}: {line.text}" for line in lines]


def test_printed_logs_are_merged_by_time() -> None:
    made = talking("2026-01-01T00:00:01Z a\n2026-01-01T00:00:03Z c\n", "2026-01-01T00:00:02Z b\n")

    assert told(logs.printed(logs.sources(made))) == ["head: a", "worker1: b", "head: c"]


def test_followed_logs_end_with_how_each_process_ended() -> None:
    made = talking("1 a\n", "1 b\n")
    made.nodes[0].steps = [{"containers": containers(container("head", state="exited", exit_code=3))}]
    made.nodes[1].steps = [{"containers": containers()}]

    lines = told(logs.followed(logs.sources(made)))

    assert sorted(lines) == [
        "head: a",
        "head: exited with exit status 3",
        "worker1: b",
        "worker1: the container was removed",
    ]


def test_a_lost_connection_ends_one_log_and_not_the_others() -> None:
    made = talking("1 a\nLOST\n", "1 b\n")

    lines = told(logs.followed(logs.sources(made)))

    assert "head: log lost: the connection broke" in lines
    assert "worker1: b" in lines


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "docker logs --timestamps --tail all "),
        ({"since": "10m", "tail": "5"}, "docker logs --timestamps --tail 5 --since 10m "),
        ({"since": "$(x)"}, "--since '$(x)' "),
    ],
)
def test_what_docker_is_asked(options: dict[str, str], words: str) -> None:
    made = talking("", "")

    list(logs.printed(logs.sources(made), **options))

    assert words in made.nodes[0].shown[0]
    assert "--follow" not in made.nodes[0].shown[0]


def test_only_some_processes_and_their_prefixes() -> None:
    made = talking("", "")

    assert [s.container.process for s in logs.sources(made, ["worker1"])] == ["worker1"]
    assert list(logs.prefixes(logs.sources(made)).values()) == ["atlas-1/head   ", "atlas-2/worker1"]
    assert logs.prefixes([]) == {}
