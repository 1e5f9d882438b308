"""Large files from the controller to a node: piece by piece over the one connection, going on where it broke off.

A piece is one exec that appends to ``<path>.part`` only where that has exactly the length expected, so a piece that was
written although its answer was lost is not written twice. Memory is one piece a node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from provision import clock
from provision.actions import JobProgress, Send
from provision.amounts import size_text, time_text
from provision.errors import CommandFailed, ConnectionLost, UsageError
from provision.results import Result
from provision.shell import quote

if TYPE_CHECKING:
    from provision.engine.view import NodeView

PIECE = 8 * 1024 * 1024
"""Bytes of one exec."""

PIECE_DEADLINE = 300.0
"""Seconds that one may take: 27 KB/s, below which a copy is of no use."""

HASH_RATE = 50 * 1024 * 1024
"""Bytes a second at which the slowest disk is still read."""

_ATTEMPTS = 5
_WRONG = 65
_ASK = "mkdir -p -- {folder} && {{ [ ! -L {part} ] || rm -f -- {part}; stat -c %s -- {part} 2>/dev/null || echo 0; }}\n"
_APPEND = """\
n=$(stat -c %s -- {part} 2>/dev/null || echo 0)
[ "$n" = {offset} ] || {{ echo "$n"; exit 0; }}
cat >>{part}
stat -c %s -- {part}
"""
_END = """\
{check}chmod {mode:04o} -- {part} && {{ sync {part} 2>/dev/null || sync; }} && mv -f -- {part} {path}
"""
_CHECK = """\
s=$(sha256sum <{part}) || exit
[ "${{s%% *}}" = {sha256} ] || {{ echo "SHA-256 is ${{s%% *}}, not {sha256}" >&2; rm -f -- {part}; exit 65; }}
"""


def send(action: Send, view: NodeView) -> Result:
    """Copy the file. Raises ``UsageError`` where it can't be read here, ``CommandFailed`` with the node's words."""
    started = clock.monotonic()
    while True:
        try:
            with action.source.open("rb") as file:
                size = _size(action)
                first = _pieces(action, view, file, size, started)
        except OSError as error:
            message = f"{action.source} can't be read: {error.strerror or error}"
            raise UsageError(message, hint="correct the path") from error
        script = _END.format(check=_check(action), mode=action.mode, part=_part(action), path=quote(action.path))
        label = f"complete {action.path}"
        ended = view.command(script, deadline=60.0 + size / HASH_RATE, label=label, become=action.become)
        if ended.exit != _WRONG or not first:
            break  # what was there of an earlier attempt may have been another file's
    ended.check(node=view.name, hint=action.hint or "run again: it is sent anew")
    result = Result(action.label, 0, "", seconds=clock.monotonic() - started)
    view.told(result, f"send {action.source} to {action.path}", "put")
    return result


def _pieces(action: Send, view: NodeView, file: BinaryIO, size: int, started: float) -> int:
    """Sends what is not there; how many bytes were."""
    offset = _asked(_ASK.format(folder=quote(action.path.rpartition("/")[0] or "/"), part=_part(action)), action, view)
    if offset > size or not action.sha256:
        offset = _asked(f"rm -f -- {_part(action)}; echo 0", action, view)
    first = offset
    while offset < size:
        file.seek(action.start + offset)
        piece = file.read(min(PIECE, size - offset))
        if not piece:
            hint = "somebody has cut it meanwhile: run again when it is whole"
            raise UsageError(f"{action.source} ends after {offset} of {size} bytes", hint=hint)
        offset = _appended(piece, offset, action, view)
        _tell(view, action, first, offset, size, clock.monotonic() - started)
        if clock.monotonic() - started > action.deadline:
            late = Result(action.label, 124, "", seconds=action.deadline, timed_out=True)
            late.check(node=view.name, hint="run again: it goes on where it is")
        if action.bandwidth:
            ahead = (offset - first) / action.bandwidth - (clock.monotonic() - started)
            clock.sleep(max(0.0, ahead), view.context.stop)
    return first


def _size(action: Send) -> int:
    return action.source.stat().st_size - action.start if action.length is None else action.length


def _appended(piece: bytes, offset: int, action: Send, view: NodeView) -> int:
    """How long the file is on the node, with this piece or where it was before."""
    return _asked(_APPEND.format(part=_part(action), offset=offset), action, view, piece)


def _asked(script: str, action: Send, view: NodeView, data: bytes = b"") -> int:
    """The number that a script prints, asked again where the connection broke: no piece is written twice."""
    for attempt in range(_ATTEMPTS):
        try:
            result = view.transport.run(
                script, deadline=view.within(PIECE_DEADLINE), input=data, become=action.become, label=action.label
            )
            break
        except ConnectionLost:
            if attempt + 1 == _ATTEMPTS:
                raise
            clock.sleep(1.0 + attempt, view.context.stop)
    result.check(node=view.name, hint=_hint(result, action))
    try:
        return int(result.stdout.strip())
    except ValueError:
        raise CommandFailed(f"{action.label}: unexpected answer", result, node=view.name) from None


def _hint(result: Result, action: Send) -> str:
    if "No space left" in result.stderr:
        return f"free space on the file system of {action.path}: `df -h` on the node; then run again, it goes on"
    return action.hint


def _tell(view: NodeView, action: Send, first: int, offset: int, size: int, seconds: float) -> None:
    rate = (offset - first) / seconds if seconds > 0 else 0.0
    came, total = action.before + offset, action.total or size
    text = f"{size_text(came)} of {size_text(total)}"
    if rate and seconds >= 0.5:
        text += f", {size_text(rate)}/s, {time_text((total - came) / rate)} left"
    view.progress(JobProgress(came / total, f"{text}: {action.path.rpartition('/')[2]}"))


def _part(action: Send) -> str:
    return quote(f"{action.path}.part")


def _check(action: Send) -> str:
    return _CHECK.format(part=_part(action), sha256=action.sha256) if action.sha256 else ""
