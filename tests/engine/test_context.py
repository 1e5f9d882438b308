"""The watch: who waits for what, told when nothing else is heard."""

from __future__ import annotations

import threading

import pytest

from provision import clock
from provision.emitter import Emitter
from provision.engine.context import WATCH_EVERY, Context, Watch, some
from provision.engine.view import ClusterView
from provision.errors import Interrupted
from provision.events import Event, Progressed


class Told:
    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def handle(self, event: Event) -> None:
        assert isinstance(event, Progressed)
        self.texts.append((event.node, event.text))

    def close(self) -> None: ...


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still; its only element is the time."""
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return now


def test_silence_is_broken_every_so_often(time: list[float]) -> None:
    told = Told()
    watch = Watch(Emitter([told]))
    with watch.busy("a", "pull"):
        watch.speak()
        time[0] += WATCH_EVERY
        watch.speak()
        watch.speak()
        time[0] += WATCH_EVERY
        watch.speak()
    time[0] += WATCH_EVERY
    watch.speak()
    assert told.texts == [("a", "waiting, 15 s"), ("a", "waiting, 30 s")]


def test_progress_postpones_it(time: list[float]) -> None:
    told = Told()
    watch = Watch(Emitter([told]))
    with watch.busy("a", "pull"), watch.busy("", "wave"):
        time[0] += WATCH_EVERY - 1
        watch.heard("a")
        time[0] += 2
        watch.speak()
        assert told.texts == []
        time[0] += WATCH_EVERY
        watch.speak()
    assert told.texts == [("a", "waiting, 31 s"), ("", "waiting for the cluster: wave, 31 s")]


def test_many_nodes_are_one_line(time: list[float]) -> None:
    told = Told()
    watch = Watch(Emitter([told]))
    waits = [watch.busy(f"n{number}", "load") for number in range(7)]
    for wait in waits:
        wait.__enter__()
    time[0] += WATCH_EVERY
    watch.speak()
    for wait in waits:
        wait.__exit__(None, None, None)
    assert told.texts == [("", "waiting for n0, n1, n2, n3 and 3 more: load, 15 s")]


@pytest.mark.parametrize(
    ("nodes", "text"), [([""], "the cluster"), (["a"], "a"), (["a", ""], "a"), (list("abcde"), "a, b, c, d and 1 more")]
)
def test_some(nodes: list[str], text: str) -> None:
    assert some(nodes) == text


def test_the_watch_ends_when_it_is_told_to() -> None:
    watch, stop = Watch(Emitter()), threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(timeout=5)
    assert not thread.is_alive()


def test_a_stop_is_an_interruption() -> None:
    context = Context(Emitter(), Watch(Emitter()))
    context.check_stop()
    context.stop.set()
    with pytest.raises(Interrupted):
        context.check_stop()


def test_a_pause_is_heard_and_ends_when_the_operator_stops(time: list[float]) -> None:
    told, stop = Told(), threading.Event()
    watch = Watch(Emitter([told]))
    cluster = ClusterView([], Context(Emitter(), watch, stop=stop, usual=lambda launch: {launch: 2.0}))
    assert cluster.usual("aa") == {"aa": 2.0}

    with watch.busy("", "watch"):
        time[0] += WATCH_EVERY
        cluster.pause(0.0)
        watch.speak()
    assert told.texts == [], "a wait on purpose is no silence"

    stop.set()
    with pytest.raises(Interrupted):
        cluster.pause(60.0)
