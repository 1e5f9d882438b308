"""What an operator reads: whole runs as events, and the lines they become."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest

from provision.events import (
    ActionDone,
    ActionPlanned,
    CommandRan,
    Event,
    Found,
    GroupRestarted,
    NodeConnected,
    NodeUnreachable,
    Note,
    PhaseReached,
    PlayEnded,
    PlayStarted,
    ProcessChanged,
    Progressed,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskStarted,
)
from provision.render.plain import Plain
from provision.render.story import PROGRESS_EVERY, duration

NODES = tuple(f"atlas-{number}" for number in range(1, 9))


def text(events: Iterable[Event], **options: Any) -> str:
    stream = io.StringIO()
    sink = Plain(stream, **options)
    for event in events:
        sink.handle(event)
    sink.close()
    return stream.getvalue()


def ended(node: str, status: Any = "ok", task: str = "image", **more: Any) -> TaskEnded:
    return TaskEnded(node=node, task=task, status=status, **more)


def task(*events: Event, nodes: tuple[str, ...] = NODES, name: str = "image") -> list[Event]:
    return [TaskStarted(task=name, module="image", nodes=nodes), *events]


def test_a_whole_run_that_fails_on_one_node() -> None:
    run = [
        RunStarted(
            run="3fa9c1", command="up", inventory="cluster.yaml", nodes=NODES, mode="apply", directory="/runs/1"
        ),
        *(NodeConnected(node=node, seconds=0.4) for node in reversed(NODES)),
        PlayStarted(play="prepare", nodes=NODES),
        *task(
            *(ended(node, "changed", message="pulled", seconds=43.2) for node in NODES[:7]),
            ended("atlas-8", "failed", message="no space left on device", hint="docker system prune", evidence="a\nb"),
        ),
        PlayEnded(play="prepare", seconds=44),
        RunEnded(
            exit_code=1,
            seconds=62.0,
            counts={**{node: {"changed": 1} for node in NODES[:7]}, "atlas-8": {"failed": 1, "ok": 2}},
            summary="failed at 'image' on atlas-8: no space left on device",
            facts={"model": "qwen"},
            next=("qnext-provision status", "qnext-provision logs"),
            phases={"connect": 0.4, "prepare": 44.0},
        ),
    ]
    assert text(run) == (
        "up: cluster.yaml, 8 nodes\n"
        "connected   atlas-[1:8] (0.4 s)\n"
        "== prepare (atlas-[1:8])\n"
        "failed      image: atlas-8: no space left on device (43.2 s)\n"
        "            remedy  docker system prune\n"
        "                 |  a\n"
        "                 |  b\n"
        "changed     image: atlas-[1:7]: pulled (43.2 s)\n"
        "failed at 'image' on atlas-8: no space left on device (1 min 02 s)\n"
        "            atlas-8: 1 failed, 2 ok\n"
        "              time  connect 0.4 s, prepare 44.0 s\n"
        "             model  qwen\n"
        "              next  qnext-provision status\n"
        "                    qnext-provision logs\n"
        "          recorded  /runs/1\n"
    )


def test_a_plan_says_so_and_shows_what_would_be_done() -> None:
    start = RunStarted(run="1", command="up", inventory="c.yaml", nodes=("a",), mode="plan", directory="")
    planned = [ActionPlanned(node=node, task="image", label="write x", detail="/x", diff="-a\n+b") for node in NODES]
    lines = text([start, *task(*planned, *(ended(node, "changed", changed=1) for node in NODES))])
    assert lines == (
        "up: c.yaml, 1 node, plan only: nothing is changed\n"
        "would       write x: atlas-[1:8]\n"
        "            -a\n"
        "            +b\n"
        "planned     image: atlas-[1:8] (0.0 s)\n"
    )


def test_findings_are_folded_and_the_worst_come_first() -> None:
    def found(node: str, level: str) -> Found:
        return Found(
            node=node,
            check="c",
            code="N05",
            level=level,
            summary="NPU 3 is ill",
            remedy="reset it",
            observed="DOWN",
            expected="UP",
        )

    events = task(
        found("atlas-2", "warn"), found("atlas-1", "fail"), found("atlas-3", "fail"), found("atlas-4", "info"),
        ended("atlas-1", "failed", message="NPU 3 is ill", hint="reset it"), nodes=("atlas-1",), name="image",
    )  # fmt: skip
    assert text(events) == (
        "fail        N05 atlas-1,atlas-3: NPU 3 is ill\n"
        "          observed  DOWN\n"
        "          expected  UP\n"
        "            remedy  reset it\n"
        "warn        N05 atlas-2: NPU 3 is ill\n"
        "          observed  DOWN\n"
        "          expected  UP\n"
        "            remedy  reset it\n"
        "failed      image: atlas-1: NPU 3 is ill (0.0 s)\n"
    )
    assert "info        N05 atlas-4" in text(events, verbose=1)


def test_unreachable_nodes_come_with_their_remedy() -> None:
    assert text([NodeUnreachable(node="a", reason="refused", hint="start sshd")]) == (
        "unreachable a: refused\n            remedy  start sshd\n"
    )


def test_a_cluster_that_failed_names_every_node_that_did() -> None:
    events = [
        *task(
            ActionDone(node="atlas-1", task="image", label="start head", ok=True, seconds=1),
            *(
                ActionDone(
                    node=node, task="image", label="start worker", ok=False, seconds=1, detail="start: exit status 1"
                )
                for node in NODES[1:4]
            ),
            ended("atlas-2", "failed", message="start: exit status 1"),
        ),
        PlayEnded(play="p", seconds=1),
    ]
    assert text(events) == (
        "failed      start worker: atlas-[2:4]: start: exit status 1\n"
        "failed      image: atlas-2: start: exit status 1 (0.0 s)\n"
    )


def test_a_failed_action_is_not_told_twice() -> None:
    done = ActionDone(node="a", task="image", label="pull", ok=False, seconds=1, detail="pull: exit status 1")
    events = task(done, ended("a", "failed", message="pull: exit status 1"), nodes=("a",))
    assert text(events) == "failed      image: a: pull: exit status 1 (0.0 s)\n"


def test_progress_is_told_now_and_then() -> None:
    def progressed(node: str, at: float, fraction: float | None) -> Progressed:
        return Progressed(node=node, task="image", text="layers", fraction=fraction, at=at)

    started = TaskStarted(task="image", module="image", nodes=NODES, at=100.0)
    assert text([started, progressed("atlas-1", 101, 0.1), progressed("atlas-2", 102, 0.1)]) == ""
    late = 100 + PROGRESS_EVERY
    assert text(
        [started, progressed("atlas-1", 101, 0.1), progressed("atlas-2", late, 0.1), progressed("atlas-1", late, None)]
    ) == ("…           image: atlas-[1:2]: 10% layers\n")
    assert text([Progressed(node="", task="image", text="waiting for a and 3 more: image, 30 s")]) == (
        "…           waiting for a and 3 more: image, 30 s\n"
    )


def test_skipped_tasks_and_commands_are_for_the_curious() -> None:
    ran = CommandRan(node="a", label="look", script="ls\nid", exit=0, stdout="x", stderr="", seconds=0.1)
    events = task(ran, ended("a", "skipped"), nodes=("a",))
    assert text(events) == ""
    assert text(events, verbose=1) == "         $ a: look: exit 0, 0.1 s\nskipped     image: a (0.0 s)\n"
    assert "                 |  id\n" in text(events, verbose=2)


def test_notes() -> None:
    assert text([Note(text="mind the gap", level="warn")]) == "note        mind the gap\n"


def test_every_line_of_a_message_stays_on_its_line() -> None:
    assert text(task(ended("a", "ok", message="one\ntwo"), nodes=("a",))) == "ok          image: a: one two (0.0 s)\n"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3725, "62 min 05 s")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_restart_and_what_a_watch_sees() -> None:
    unit = GroupRestarted(
        group="the group", processes=("head", "worker1"), node="a", cause="head exited\nwith 1", number=1, budget=2
    )
    alone = GroupRestarted(group="replica1", processes=("replica1",), node="b", cause="died", number=2, budget=2)
    lines = text([
        unit,
        alone,
        ProcessChanged(node="a", process="head", state="answers"),
        ProcessChanged(node="a", process="head", state="is missing", before="answers"),
    ]).splitlines()  # fmt: skip

    assert lines == [
        "restart     the group (head, worker1), 1 of 2: head exited with 1",
        "restart     replica1, 2 of 2: died",
        "watch       head on a answers",
        "watch       head on a is missing (before: answers)",
    ]


def test_phases_are_told_line_by_line_only_where_asked_for() -> None:
    reached = PhaseReached(node="a", process="head", phase="ready", text="ready")

    assert text([reached]) == ""
    assert "head on a: ready" in text([reached], verbose=1)
