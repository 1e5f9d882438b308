"""The emitter: stamps, masks, and lets a failing sink go."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from provision import secrets
from provision.emitter import Emitter
from provision.events import Event, Note, RunEnded, TaskStarted
from provision.secrets import MASK, Secret


@dataclass
class Sink:
    fails: bool = False
    seen: list[Event] = field(default_factory=list)
    closed: int = 0

    def handle(self, event: Event) -> None:
        if self.fails:
            raise OSError("No space left on device")
        self.seen.append(event)

    def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("still none")


def test_events_are_stamped_once() -> None:
    sink = Sink()
    emitter = Emitter([sink])
    emitter.emit(Note(text="now"))
    emitter.emit(Note(text="then", at=5.0))
    assert sink.seen[0].at > 1_000_000_000
    assert sink.seen[1].at == 5.0


def test_secrets_are_masked_in_every_text(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(secrets, "_revealed", set())
    Secret.of("hunter22").reveal()
    sink = Sink()
    emitter = Emitter([sink])
    emitter.emit(TaskStarted(task="login hunter22", module="m", nodes=("a", "hunter22")))
    emitter.emit(RunEnded(exit_code=0, seconds=1, facts={"key": "x hunter22"}, next=("curl hunter22",)))
    started, ended = sink.seen
    assert isinstance(started, TaskStarted)
    assert isinstance(ended, RunEnded)
    assert started.task == f"login {MASK}"
    assert started.nodes == ("a", MASK)
    assert ended.facts == {"key": f"x {MASK}"}
    assert ended.next == (f"curl {MASK}",)


def test_a_failing_sink_is_let_go_and_the_others_are_told() -> None:
    good, bad = Sink(), Sink(fails=True)
    emitter = Emitter([bad, good])
    emitter.emit(Note(text="one"))
    emitter.emit(Note(text="two"))
    texts = [event.text for event in good.seen if isinstance(event, Note)]
    assert texts == ["Sink stopped recording: No space left on device", "one", "two"]


def test_close_closes_all_once_and_nothing_comes_after() -> None:
    good, bad = Sink(), Sink(fails=True)
    with Emitter([bad, good]) as emitter:
        pass
    emitter.close()
    emitter.emit(Note(text="late"))
    assert (good.closed, bad.closed, good.seen) == (1, 1, [])


def test_sinks_see_one_event_at_a_time_in_the_same_order() -> None:
    first, second = Sink(), Sink()
    emitter = Emitter([first, second])

    def shout(name: str) -> None:
        for number in range(50):
            emitter.emit(Note(text=f"{name}{number}"))

    threads = [threading.Thread(target=shout, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(first.seen) == 200
    assert first.seen == second.seen
