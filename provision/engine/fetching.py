"""Large files from a node to the controller: piece by piece over the one connection, going on where it broke off.

A piece is one exec that reads so many bytes from an offset on; what is there already is ``<to>.part``, so nothing needs
to be known of an earlier attempt but its length. The checksum is that of the file on the node, so what was left by an
attempt at another file is found out, and fetched anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provision import clock
from provision.actions import Fetch, JobProgress
from provision.errors import ConnectionLost, RemoteError, UsageError
from provision.install.manifest import file_sha256
from provision.results import Result

if TYPE_CHECKING:
    from provision.engine.view import NodeView

PIECE = 8 * 1024 * 1024
"""Bytes of one exec: what is held in memory."""

_ATTEMPTS = 5


def fetch(action: Fetch, view: NodeView) -> Result:
    """Copy the file. Raises ``UsageError`` where it can't be written here, ``RemoteError`` where it comes out wrong."""
    started = clock.monotonic()
    part = action.to.with_name(f"{action.to.name}.part")
    try:
        action.to.parent.mkdir(parents=True, exist_ok=True)
        if _held(part) > action.size:
            part.unlink()
        _pieces(action, view, part, started)
        _complete(action, view, part)
    except OSError as error:
        message = f"{error.filename or action.to} can't be written: {error.strerror or error}"
        hint = f"make room for {action.size / 1e9:.1f} GB, or name a folder elsewhere; it goes on where it is"
        raise UsageError(message, hint=hint) from error
    result = Result(action.label, 0, "", seconds=clock.monotonic() - started)
    view.told(result, f"fetch {action.path} to {action.to}", "get")
    return result


def _held(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _pieces(action: Fetch, view: NodeView, part: Path, started: float) -> None:
    first = offset = _held(part)
    with part.open("ab") as file:
        while offset < action.size:
            piece = _piece(action, view, offset)
            file.write(piece)
            offset += len(piece)
            _tell(view, action, first, offset, clock.monotonic() - started)
            if clock.monotonic() - started > action.deadline:
                late = Result(action.label, 124, "", seconds=action.deadline, timed_out=True)
                late.check(node=view.name, hint="run again: it goes on where it is")


def _piece(action: Fetch, view: NodeView, offset: int) -> bytes:
    """The next bytes, asked for again where the connection broke."""
    length = min(PIECE, action.size - offset)
    for attempt in range(_ATTEMPTS):
        view.time_left()
        try:
            piece = view.transport.get(action.path, become=action.become, offset=offset, length=length)
            break
        except ConnectionLost:
            if attempt + 1 == _ATTEMPTS:
                raise
            clock.sleep(1.0 + attempt, view.context.stop)
    if not piece:
        raise RemoteError(
            f"{action.path} ends after {offset} of {action.size} bytes",
            node=view.name,
            hint="somebody has changed it meanwhile: run again",
        )
    return piece


def _complete(action: Fetch, view: NodeView, part: Path) -> None:
    found = file_sha256(part)
    if found != action.sha256:
        part.unlink()
        raise RemoteError(
            f"{action.path}: SHA-256 of what has come is {found}, not {action.sha256}",
            node=view.name,
            hint=action.hint or "run again: it is fetched anew",
        )
    part.replace(action.to)


def _tell(view: NodeView, action: Fetch, first: int, offset: int, seconds: float) -> None:
    rate = (offset - first) / seconds if seconds > 0 else 0.0
    left = (action.size - offset) / rate if rate else 0.0
    text = f"{offset / 1e9:.1f} of {action.size / 1e9:.1f} GB of {action.to.name}"
    view.progress(JobProgress(offset / action.size, f"{text}, {rate / 1e6:.0f} MB/s, {left:.0f} s left"))
