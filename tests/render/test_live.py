"""The display on a terminal: bounded in height and width, and gone when the run ends."""

from __future__ import annotations

import io

import pytest

from provision.events import Event, PlayEnded, PlayStarted, Progressed, RunEnded, RunStarted, TaskEnded, TaskStarted
from provision.render.live import Live, progress_text

NODES = tuple(f"atlas-{number}" for number in range(1, 65))
STARTED = RunStarted(run="1", command="up", inventory="c.yaml", nodes=NODES, mode="apply", directory="/runs/1")
ENDED = RunEnded(exit_code=0, seconds=3.0, summary="done: nothing changed")


def live(stream: io.StringIO, width: int = 80, height: int = 24) -> Live:
    return Live(stream, width=width, height=height)


def rows(display: Live, width: int = 80, height: int = 24) -> list[str]:
    return [row.plain for row in display.rows(width, height)]


@pytest.mark.parametrize(("width", "height"), [(20, 4), (40, 10), (80, 24), (200, 60), (10, 1)])
def test_it_fits_whatever_the_terminal(width: int, height: int) -> None:
    display = live(io.StringIO(), width, height)
    display.handle(PlayStarted(play="prepare", nodes=NODES))
    display.handle(TaskStarted(task="pull the image", module="image", nodes=NODES))
    for number, node in enumerate(NODES):
        display.handle(
            Progressed(node=node, task="pull the image", text=f"{number} of 64 layers", fraction=number / 64)
        )
    shown = rows(display, width, height)
    assert len(shown) <= max(height, 3)
    assert all(len(row) <= width for row in shown)
    display.close()


def test_nodes_with_the_same_state_share_a_row_and_leave_when_they_end() -> None:
    display = live(io.StringIO())
    display.handle(PlayStarted(play="prepare", nodes=NODES))
    display.handle(TaskStarted(task="pull", module="image", nodes=NODES))
    display.handle(Progressed(node="atlas-2", task="pull", text="layers", fraction=0.5))
    shown = rows(display)
    assert "prepare: pull" in shown[0]
    assert shown[1:] == ["    under way: atlas-1,atlas-[3:64]", "    █████░░░░░  50% layers: atlas-2"]
    display.handle(TaskEnded(node="atlas-2", task="pull", status="ok"))
    assert rows(display)[1:] == ["    under way: atlas-1,atlas-[3:64]"]
    display.handle(PlayEnded(play="prepare", seconds=1))
    assert len(rows(display)) == 1
    display.close()


def test_what_is_done_scrolls_above_and_the_cursor_comes_back() -> None:
    stream = io.StringIO()
    display = live(stream)
    events: list[Event] = [
        STARTED,
        PlayStarted(play="prepare", nodes=NODES),
        TaskStarted(task="pull", module="image", nodes=("atlas-1",)),
        TaskEnded(node="atlas-1", task="pull", status="failed", message="no space", hint="make room"),
        ENDED,
    ]
    for event in events:
        display.handle(event)
    display.close()
    written = stream.getvalue()
    for piece in ("up: c.yaml, 64 nodes", "pull: atlas-1: no space", "make room", "done: nothing changed", "/runs/1"):
        assert piece in written
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1


def test_closing_in_the_middle_of_a_run_gives_the_cursor_back() -> None:
    stream = io.StringIO()
    display = live(stream)
    display.handle(STARTED)
    display.close()
    display.close()
    assert stream.getvalue().rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in stream.getvalue()


def test_markup_in_texts_is_text() -> None:
    stream = io.StringIO()
    display = live(stream)
    display.handle(TaskStarted(task="[bold]t", module="m", nodes=("a",)))
    display.handle(TaskEnded(node="a", task="[bold]t", status="ok", message="[red]x[/red]"))
    assert "[bold]t: a: [red]x[/red]" in stream.getvalue()
    display.close()


@pytest.mark.parametrize(
    ("fraction", "bar"),
    [(None, "x"), (0.0, "░░░░░░░░░░   0% x"), (1.0, "██████████ 100% x"), (7.0, "██████████ 100% x")],
)
def test_bars(fraction: float | None, bar: str) -> None:
    assert progress_text(Progressed(node="a", task="t", text="x", fraction=fraction)) == bar


def test_where_a_row_is_too_long_it_still_says_whose_it_is() -> None:
    display = live(io.StringIO())
    display.handle(TaskStarted(task="pull", module="image", nodes=("atlas-1",)))
    text = "7 of 8 layers, 5.2 of 5.9 GB, 85 MB/s, 2 min left, from registry.example/ascend/vllm-ascend"
    display.handle(Progressed(node="atlas-1", task="pull", text=text, fraction=0.89))
    (row,) = rows(display, 80)[1:]
    assert len(row) <= 80
    assert "85 MB/s, 2 min left" in row
    assert row.endswith("…: atlas-1")
    display.close()
