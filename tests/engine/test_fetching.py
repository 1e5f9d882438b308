"""Large files from a node, piece by piece, on a real shell: this machine, through the local transport."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from provision.actions import Fetch
from provision.engine import fetching
from provision.engine.perform import act
from provision.engine.view import NodeView
from provision.errors import CommandFailed, ConnectionLost, RemoteError, UsageError
from provision.events import Progressed
from tests.engine.test_perform import Seen, seen, view

__all__ = ["seen", "view"]
pytestmark = pytest.mark.rehearsal
CONTENT = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "PIECE", 30_000)


@pytest.fixture
def action(tmp_path: Path) -> Fetch:
    source = tmp_path / "on the node.bin"
    source.write_bytes(CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    return Fetch(label="fetch", path=str(source), to=tmp_path / "here/it is", size=len(CONTENT), sha256=digest)


def part_of(action: Fetch) -> Path:
    return action.to.with_name(f"{action.to.name}.part")


def test_a_file_arrives_whole_and_in_pieces(view: NodeView, action: Fetch, seen: Seen) -> None:
    act(action, view)
    assert action.to.read_bytes() == CONTENT
    assert not part_of(action).exists()
    assert sum(isinstance(event, Progressed) for event in seen.events) == 4


def test_it_goes_on_where_it_broke_off(view: NodeView, action: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of(action)
    part.parent.mkdir()
    part.write_bytes(CONTENT[:50_000])
    asked: list[int] = []
    get = view.transport.get
    lost = [True]

    def counted(path: str, *, offset: int = 0, length: int = 0, **rest: bool) -> bytes:
        if lost and asked:
            lost.pop()
            raise ConnectionLost("the connection broke")
        asked.append(offset)
        return get(path, offset=offset, length=length, **rest)

    monkeypatch.setattr(view.transport, "get", counted)
    monkeypatch.setattr("provision.clock.sleep", lambda *_: False)
    act(action, view)
    assert action.to.read_bytes() == CONTENT
    assert asked == [50_000, 80_000]


@pytest.mark.parametrize("left", [b"x" * 50_000, b"x" * 200_000], ids=["another file's", "longer than it"])
def test_what_another_attempt_left_is_no_part_of_it(view: NodeView, action: Fetch, left: bytes) -> None:
    part = part_of(action)
    part.parent.mkdir()
    part.write_bytes(left)
    if len(left) < len(CONTENT):
        with pytest.raises(RemoteError, match="SHA-256 of what has come is"):
            act(action, view)
        assert not part.exists()
    act(action, view)
    assert action.to.read_bytes() == CONTENT


def test_a_file_that_shrank_is_told(view: NodeView, action: Fetch) -> None:
    with pytest.raises(RemoteError, match="ends after 102400 of 102401 bytes"):
        act(replace(action, size=len(CONTENT) + 1), view)


def test_no_file_and_no_folder(view: NodeView, action: Fetch, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="nothing here"):
        act(replace(action, path="/nothing here"), view)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be written"):
        act(replace(action, to=tmp_path / "file/below"), view)
