"""Following survives lost connections, restarts, new containers and late nodes, with no line twice or lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from provision.diagnose.following import Pace, Watched, followed
from provision.diagnose.logs import Part
from provision.errors import ConnectionLost, Unreachable
from provision.facts.docker import Container, ContainersValue
from provision.facts.system import ClockValue
from tests.modules.world import container, settings

EVERYTHING = Part()
QUICK = Pace(look=0.02, linger=0.1, replaced=0.1, pauses=(0.01,), tick=0.01)


class Node:
    """A node whose containers' logs are scripts: each opening takes the next; a line LOST breaks the connection, LAST
    ends the container."""

    def __init__(self, name: str, logs: dict[str, list[list[str]]]) -> None:
        self.name = name
        self.index = 0
        self.settings = settings()
        self.logs = logs
        self.there: dict[str, Container] = {}
        self.asked: list[str] = []
        self.looks: list[Callable[[Node], None]] = []
        self.lock = threading.Lock()

    def begin(self, name: str, **changes: Any) -> Container:
        made = replace(container(name), id=name, started="2026-01-01T00:00:00Z", **changes)
        self.there[name] = made
        return made

    def observe(self, facts: Any) -> None:
        with self.lock:
            if any(fact.name == "containers" for fact in facts) and self.looks:
                self.looks.pop(0)(self)

    def get(self, fact: Any) -> Any:
        if fact.name == "clock":
            return ClockValue(epoch=100.0, when=(100.0, 100.0))
        return ContainersValue(tuple(self.there.values()), reachable=True)

    def pipe(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        name = next(name for name in self.logs if f" {name} 2>&1" in script)
        with self.lock:
            self.asked.append(script)
            lines = self.logs[name].pop(0)
        for line in lines:
            if line == "LOST":
                raise ConnectionLost("broken", node=self.name)
            yield f"{line}\n".encode()
        self.there[name] = replace(self.there[name], state="exited", exit_code=3)


def told(*nodes: Node, part: Part = EVERYTHING, watched: list[Watched] | None = None) -> list[str]:
    every = watched or [Watched(node.name, lambda node=node: node) for node in nodes]
    batches = followed(every, lambda container: True, part, pace=QUICK)
    return [f"{line.process}: {line.text}" for batch in batches for line in batch]


def at(second: int, text: str) -> str:
    return f"2026-01-01T00:00:{second:02d}.000000000Z {text}"


def test_followed_logs_end_with_how_each_process_ended() -> None:
    node = Node("n1", {"head": [[at(1, "a")]]})
    node.begin("head")

    assert told(node) == ["head: a", "head: exited with exit status 3"]


def test_a_lost_connection_goes_on_from_the_last_line() -> None:
    first, again = [at(1, "a"), at(2, "b"), at(2, "b"), "LOST"], [at(2, "b"), at(2, "b"), at(2, "b"), at(3, "c")]
    node = Node("n1", {"head": [first, again]})
    node.begin("head")

    lines = told(node)

    assert [line for line in lines if line.startswith("head")] == [
        *("head: a", "head: b", "head: b", "head: b", "head: c"),
        "head: exited with exit status 3",
    ]
    assert any("connection lost, trying again: broken" in line for line in lines)
    assert any(line.endswith("connected again") for line in lines)
    assert "--since 2026-01-01T00:00:02.000000000Z " in node.asked[1]


def test_a_container_that_starts_again_is_followed_on() -> None:
    node = Node("n1", {"head": [[at(1, "a")], [at(1, "a"), at(5, "b")]]})
    node.begin("head")

    def restart(node: Node) -> None:
        node.there["head"] = replace(node.there["head"], state="running", started="2026-01-01T00:00:04Z")

    node.looks = [lambda node: None, restart]

    lines = told(node)

    assert [line for line in lines if "exited" not in line] == ["head: a", "head: started again", "head: b"]
    assert lines[-1] == "head: exited with exit status 3"


def test_a_container_that_replaces_another_is_read_from_its_start() -> None:
    node = Node("n1", {"old": [[at(1, "a")]], "new": [[at(2, "b")]]})
    node.begin("old")

    def replaced(node: Node) -> None:
        del node.there["old"]
        node.there["new"] = replace(node.begin("new"), process="old")

    node.looks = [lambda node: None, replaced]

    lines = told(node, part=Part(tail="0"))

    assert lines.count("old: b") == 1
    assert "old: a new container" in lines
    assert [" --tail 0 " in script or " --tail all " in script for script in node.asked] == [True, True]
    assert " --tail all " in node.asked[1]


def test_a_node_that_answers_late_joins() -> None:
    node = Node("n2", {"head": [[at(1, "a")]]})
    node.begin("head")
    other = Node("n1", {"worker1": [[at(1, "b")]]})
    other.begin("worker1")
    refusals = [Unreachable("no route", node="n2")] * 2

    def join() -> Any:
        if refusals:
            raise refusals.pop()
        return node

    lines = told(watched=[Watched("n1", lambda: other), Watched("n2", join)])

    assert "head: a" in lines
    assert ": out of reach, trying again: no route" in lines
    assert ": connected" in lines


def test_many_processes_of_one_node_share_streams() -> None:
    names = [f"p{n}" for n in range(4)]
    node = Node("n1", {name: [[at(1, name)]] for name in names})
    for name in names:
        node.begin(name)

    lines = told(node)

    assert sorted(line for line in lines if "exited" not in line) == sorted(f"{name}: {name}" for name in names)
