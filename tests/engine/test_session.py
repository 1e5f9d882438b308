"""Looking at nodes without a playbook."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from provision import clock
from provision.emitter import Emitter
from provision.engine.run import Session, session
from provision.errors import ConnectionLost, DeadlineExceeded, FactError, Interrupted, Unreachable
from provision.events import CommandRan, Kept, NodeConnected, NodeUnreachable, Progressed
from provision.results import Result

Make = Callable[..., Any]


@pytest.fixture
def opened(bench: Make) -> Callable[..., tuple[Any, Session]]:
    """A session over nodes in memory; ``down`` are those that do not answer."""

    def make(*names: str, down: set[str] = frozenset(), stop: Any = None) -> tuple[Any, Session]:  # type: ignore[assignment]
        b = bench(*names)
        b.pool.down = set(down)
        return b, session(b.inventory, b.inventory.hosts, b.pool, Emitter([b.seen]), stop=stop)

    return make


def test_unreachable_nodes_are_collected_not_raised(opened: Any) -> None:
    b, cluster = opened("a", "b", down={"b"})
    assert [node.name for node in cluster.nodes] == ["a"]
    assert isinstance(cluster.unreachable["b"], Unreachable)
    assert [event.node for event in b.seen.of(NodeConnected)] == ["a"]
    assert [(event.node, event.reason) for event in b.seen.of(NodeUnreachable)] == [("b", "b does not answer")]
    assert cluster.settings.cluster == "test"


def test_observing_all_nodes_is_one_exec_each(opened: Any, fact: Any) -> None:
    b, cluster = opened("a", "b")
    b["b"].state["x"] = "2"
    cluster.observe([fact("x"), fact("y")])
    assert [node.get(fact("x")) for node in cluster.nodes] == ["", "2"]
    assert b.execs == {"a": 1, "b": 1}


def test_observing_anew_and_by_node(opened: Any, fact: Any) -> None:
    b, cluster = opened("a", "b")
    cluster.observe(lambda node: [fact(node.name)])
    b["a"].state["a"] = "later"
    assert cluster.nodes[0].get(fact("a")) == ""
    cluster.observe(lambda node: [fact(node.name)])
    assert cluster.nodes[0].get(fact("a")) == "later"
    assert [event.script for event in b.seen.of(CommandRan) if event.node == "b"] == ["get b", "get b"]


def test_a_node_that_breaks_becomes_unreachable(opened: Any, fact: Any) -> None:
    b, cluster = opened("a", "b")

    def lose(facts: object, **_: object) -> Any:
        raise ConnectionLost("gone", node="a")

    b["a"].probe = lose
    cluster.observe([fact("x")])
    assert [node.name for node in cluster.nodes] == ["b"]
    assert set(cluster.unreachable) == {"a"}


def test_a_fact_that_cannot_be_read_is_raised_when_it_is_asked_for(opened: Any, fact: Any) -> None:
    b, cluster = opened("a")
    b["a"].state["x"] = "garbage"
    cluster.observe([fact("x")])
    with pytest.raises(FactError) as caught:
        cluster.nodes[0].get(fact("x"))
    assert caught.value.node == "a"
    assert caught.value.raw.stdout == "garbage"


def test_each_runs_for_all_and_raises_the_first_error_after_that(opened: Any) -> None:
    _, cluster = opened("a", "b", "c")
    assert cluster.each(lambda node: node.index) == {"a": 0, "b": 1, "c": 2}
    ran = []

    def one(node: Any) -> None:
        ran.append(node.name)
        if node.name != "a":
            raise ValueError(node.name)

    with pytest.raises(ValueError, match="b"):
        cluster.each(one)
    assert sorted(ran) == ["a", "b", "c"]


def test_reads_streams_and_evidence(opened: Any) -> None:
    b, cluster = opened("a")
    [node] = cluster.nodes
    b["a"].state = {"x": "1", "log": "one\ntwo"}
    assert node.read("get x", label="look").stdout == "1"
    assert list(node.stream("log")) == ["one", "two"]
    node.keep("server.log", "text")
    assert b.seen.of(Kept)[0].name == "server.log"
    assert b.seen.of(CommandRan)[0].label == "look"


def test_a_stream_has_its_deadline_or_the_tasks_time_whichever_is_less(opened: Any) -> None:
    b, cluster = opened("a")
    [node] = cluster.nodes
    for deadline, ends in ((None, None), (5.0, None), (None, 50.0), (5.0, 50.0), (100.0, 50.0)):
        node.ends = ends and clock.monotonic() + ends
        list(node.stream("log", deadline=deadline))
    assert b["a"].deadlines == [None, 5.0, pytest.approx(50, abs=2), 5.0, pytest.approx(50, abs=2)]


def test_a_stream_that_outran_the_tasks_time_says_so(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    b, cluster = opened("a")
    [node] = cluster.nodes

    def late(*_: object, deadline: float, **__: object) -> Any:
        node.ends = min(node.ends, clock.monotonic()) if deadline > 5 else node.ends
        raise DeadlineExceeded("a script had not ended", Result("stream", 124, "", timed_out=True))

    monkeypatch.setattr(b["a"], "stream", late)
    node.task, node.ends = "look at it", clock.monotonic() + 50
    with pytest.raises(DeadlineExceeded, match="a script had not ended"):
        list(node.stream("log", deadline=5))
    with pytest.raises(DeadlineExceeded, match="look at it") as caught:
        list(node.stream("log", deadline=100))
    assert "raise the task's timeout" in caught.value.hint


def test_http_goes_through_the_node(opened: Any) -> None:
    _, cluster = opened("a")
    answer = cluster.nodes[0].http(8000).get("/health")
    assert (answer.status, "no server in memory" in answer.error) == (0, True)


def test_progress_is_told(opened: Any) -> None:
    from provision.actions import JobProgress

    b, cluster = opened("a")
    cluster.nodes[0].progress(JobProgress(0.5, "half"))
    [event] = b.seen.of(Progressed)
    assert (event.node, event.text, event.fraction) == ("a", "half", 0.5)


def test_after_a_stop_every_look_raises(opened: Any, fact: Any) -> None:
    stop = threading.Event()
    _, cluster = opened("a", stop=stop)
    [node] = cluster.nodes
    stop.set()
    looks: list[Callable[[], object]] = [
        lambda: node.get(fact("x")),
        lambda: node.observe([fact("x")]),
        lambda: node.read("get x"),
        lambda: node.http(80),
    ]
    for look in looks:
        with pytest.raises(Interrupted):
            look()
