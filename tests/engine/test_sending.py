"""Large files to a node, piece by piece, on a real shell: this machine, through the local transport."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from provision.actions import Send
from provision.engine import sending
from provision.engine.perform import act
from provision.engine.view import NodeView
from provision.errors import CommandFailed, ConnectionLost, UsageError
from provision.results import Result
from tests.engine.test_perform import Seen, seen, view

__all__ = ["seen", "view"]
pytestmark = pytest.mark.rehearsal
CONTENT = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PIECE", 30_000)


@pytest.fixture
def action(tmp_path: Path) -> Send:
    source = tmp_path / "source.bin"
    source.write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Send(label="send", source=source, path=str(tmp_path / "on/the node/file"), sha256=digest, mode=0o640)


def test_a_file_arrives_whole_with_its_mode(view: NodeView, action: Send) -> None:
    act(action, view)
    arrived = Path(action.path)
    assert (arrived.read_bytes(), arrived.stat().st_mode & 0o777) == (CONTENT, 0o640)
    assert not Path(f"{action.path}.part").exists()


def test_it_goes_on_where_it_broke_off(view: NodeView, action: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Path(f"{action.path}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:50_000])
    sent: list[int] = []
    run = view.transport.run

    def counted(script: str, *, input: bytes = b"", **rest: object) -> Result:
        sent.append(len(input))
        return run(script, input=input, **rest)

    monkeypatch.setattr(view.transport, "run", counted)
    act(action, view)
    assert Path(action.path).read_bytes() == CONTENT
    assert sum(sent) == len(CONTENT) - 50_000


def test_an_answer_that_was_lost_sends_nothing_twice(
    view: NodeView, action: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, calls = view.transport.run, iter(range(100))

    def lossy(script: str, **rest: object) -> Result:
        result = run(script, **rest)
        if next(calls) == 2:
            raise ConnectionLost("cut", node="here")
        return result

    monkeypatch.setattr(view.transport, "run", lossy)
    monkeypatch.setattr("provision.clock.sleep", lambda *_: False)
    act(action, view)
    assert Path(action.path).read_bytes() == CONTENT


def test_what_is_not_what_was_promised_is_refused_and_gone(view: NodeView, action: Send) -> None:
    action.source.write_bytes(CONTENT[::-1])
    with pytest.raises(CommandFailed, match="SHA-256 is"):
        act(action, view)
    assert list(Path(action.path).parent.iterdir()) == []


def test_a_file_that_is_not_there_is_said(view: NodeView, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        act(Send(label="send", source=tmp_path / "none", path="/nowhere/x"), view)


def test_more_than_the_file_on_the_node_is_begun_anew(view: NodeView, action: Send, seen: Seen) -> None:
    part = Path(f"{action.path}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT * 2)
    act(action, view)
    assert Path(action.path).read_bytes() == CONTENT


def test_what_was_there_of_another_file_is_sent_anew_at_once(view: NodeView, action: Send) -> None:
    part = Path(f"{action.path}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"another" * 5_000)
    act(action, view)
    assert Path(action.path).read_bytes() == CONTENT


def test_without_a_checksum_nothing_of_an_earlier_attempt_counts(view: NodeView, action: Send) -> None:
    part = Path(f"{action.path}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"another" * 5_000)
    act(replace(action, sha256=""), view)
    assert Path(action.path).read_bytes() == CONTENT


def test_nothing_is_written_through_a_link(view: NodeView, action: Send, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    part = Path(f"{action.path}.part")
    part.parent.mkdir(parents=True)
    part.symlink_to(victim)
    act(action, view)
    assert (victim.read_bytes(), Path(action.path).read_bytes()) == (b"precious", CONTENT)


def test_a_file_that_is_cut_meanwhile_ends_it(view: NodeView, action: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_size", lambda action: len(CONTENT) + 1)
    with pytest.raises(UsageError, match="ends after 102400 of 102401 bytes"):
        act(action, view)


def test_a_file_inside_of_an_archive(view: NodeView, action: Send) -> None:
    inside = CONTENT[1_000:71_000]
    digest = hashlib.sha256(inside).hexdigest()
    act(replace(action, start=1_000, length=len(inside), sha256=digest), view)
    assert Path(action.path).read_bytes() == inside
