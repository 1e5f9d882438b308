"""How ages and devices are written."""

from __future__ import annotations

from typing import Any

import pytest
from rich.table import Table

from provision.cli.status import _drift, _sentence, _table, age, devices, exit_code, show
from provision.evaluate.status import ClusterStatus, GroupStatus, ProcessStatus


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0s"), (119, "119s"), (120, "2m"), (7199, "120m"), (7200, "2h"), (172_800, "2d")],
)
def test_ages(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), "-"), ((3,), "3"), (tuple(range(16)), "0-15"), ((7, 0, 1, 2, 9, 10), "0-2,7,9-10"), ((1, 3), "1,3")],
)
def test_devices(numbers: tuple[int, ...], text: str) -> None:
    assert devices(numbers) == text


def test_in_a_pipe_a_row_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = Table("node", "drift")
    table.add_row("a-node-of-quite-some-length.example", "launched as 0123456789abcdef, declared fedcba9876543210")

    show(table)

    row = "a-node-of-quite-some-length.example │ launched as 0123456789abcdef, declared fedcba9876543210"
    assert row in capsys.readouterr().out


def found(*states: str) -> ClusterStatus:
    """Ranks that work as one, in these states."""
    rows = [ProcessStatus("a", f"rank{n}", state, kind="server") for n, state in enumerate(states)]
    names, lost = tuple(p.process for p in rows), tuple(p.process for p in rows if not p.serves)
    groups = (GroupStatus("", "", names, not lost, lost),)
    return ClusterStatus("qnext", "http://a:8000", "qwen3", tuple(rows), groups=groups)


@pytest.mark.parametrize(
    ("states", "exit_status", "sentence"),
    [
        (("running", "running"), 0, "qnext: up; 2 of 2 processes run; qwen3 at http://a:8000"),
        (("missing", "missing"), 0, "qnext: down; 0 of 2 processes run; nothing is answered at http://a:8000"),
        (
            ("running", "exited"),
            1,
            "qnext: not up as declared: rank1 on a has exited; 1 of 2 processes run; "
            "nothing is answered at http://a:8000",
        ),
        (("exited", "missing"), 1, None),
        (("unknown", "unknown"), 1, None),
    ],
)
def test_what_is_said_and_the_exit_status(states: tuple[str, ...], exit_status: int, sentence: str | None) -> None:
    assert exit_code(found(*states)) == exit_status
    if sentence:
        assert _sentence(found(*states)) == sentence


@pytest.mark.parametrize(
    ("exit_code", "drift", "told"),
    [
        (1, ("exited with exit status 1",), "-"),
        (1, ("exited with exit status 1", "launched as a, declared b"), "launched as a, declared b"),
        (None, ("not started",), "not started"),
        (None, (), "none"),
    ],
)
def test_drift_does_not_repeat_the_state(exit_code: int | None, drift: tuple[str, ...], told: str) -> None:
    assert _drift(ProcessStatus("a", "head", "exited", kind="server", exit_code=exit_code, drift=drift)) == told


def test_what_was_not_compared_is_not_up() -> None:
    there = (ProcessStatus("a", "head", "running"),)
    assert exit_code(ClusterStatus("qnext", "", "", there, problem="no address")) == 1
    assert exit_code(ClusterStatus("qnext", "", "", (), problem="no address")) == 0


def test_prefill_and_decode_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def row(name: str, role: str, **more: Any) -> ProcessStatus:
        placed = {"group": role, "role": role, "rank": 0, "api": 8100, "devices": tuple(range(16)), "age": 7200.0}
        image_id = "sha256:0123456789abcdef"
        return ProcessStatus("node1", name, "running", "answers", image_id=image_id, **{**placed, **more})

    servers = [row("prefill-head", "prefill", kind="server"), row("decode-worker1", "decode", kind="server")]
    router = row("router", "", kind="router", router="vllm-ascend", rank=None, devices=())

    show(_table(ClusterStatus("qnext", "", "", (*servers, router))))

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[2].split()[:4] == ["node1", "-", "vllm-ascend", "router"]
