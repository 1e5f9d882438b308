"""The language between controller and node: scripts framed so that their answers can be told apart. Pure text.

One exec carries any number of scripts ("probes"), and all goes over the two streams that an exec has anyway: every
script writes straight to stdout and stderr, and a line with a random mark follows it on both. Nothing is captured on
the node, so there are no temporary files and no process per probe beyond its own subshell; NULs and missing newlines
survive; whatever a login shell prints before the first mark is dropped.

Deadlines are kept on the node, so they hold when the controller is gone. A ticker sleeps until the earliest moment at
which any deadline could be over, then signals the shell every second; the shell compares clocks, and ends the whole
*process group* (TERM, then KILL) where a script outran its own. That ends the framing shell as well: the mark that it
prints before says which script it was, and the controller sends the scripts after it in another exec. The usual case,
no deadline outrun, pays one ``sleep`` for all of this.

The shell code keeps to POSIX and runs in dash, busybox and bash; names begin with ``_q`` because scripts share them.
"""

from __future__ import annotations

import base64
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from provision.results import DEADLINE_EXIT

PROBE_CAP = 1024 * 1024
"""Bytes of a probe's stdout and of its stderr that are kept."""

TERM_GRACE = 2
"""Seconds between TERM and KILL."""

PATH_TAIL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What a non-interactive login may lack: npu-smi lies in /usr/local/sbin."""

Group = Literal["own", "parent", "any"]
"""Whose process group may be ended: the shell's own, also its parent's (sudo's), or else none but single processes."""

_GROUP = {
    "own": "kill -0 -$_qg 2>/dev/null || { printf '%s nogroup\\n' $_qm; exit 0; }",
    "parent": (
        "kill -0 -$_qg 2>/dev/null || { _qg=$PPID; kill -0 -$_qg 2>/dev/null; } || "
        "{ printf '%s nogroup\\n' $_qm; exit 0; }"
    ),
    "any": "kill -0 -$_qg 2>/dev/null || _qg=",
}

_HEAD = """\
LC_ALL=C PATH=${{PATH:-/bin}}:{path}; export LC_ALL PATH
_qm={mark} _qg=$$ _qu=/proc _qc=0 _qn=
printf '%s\\n' $_qm; printf '%s\\n' $_qm >&2
{group}
_qkill() {{ if [ "$_qg" ]; then kill -$1 -$_qg; else kill -$1 $_qp; fi 2>/dev/null; }}
"""

_DEADLINES = """\
_qw={first}
_qclock() {{ {{ read -r _qt _qx <$_qu/uptime; }} 2>/dev/null && _qc=${{_qt%.*}}${{_qt#*.}}; }}
_qsay() {{ printf '%s %s %s %s %s\\n' $_qm $_qi $1 $((_qc - _qs)) $2; printf '%s %s\\n' $_qm $_qi >&2; }}
_qend() {{
trap '' USR1 TERM
_qkill TERM
( sleep {grace}; kill -KILL $_qp ) </dev/null >/dev/null 2>&1 &
_qx=$!; wait $_qp; _qsay {deadline_exit} timeout; _qkill KILL
kill -KILL $_qx $_qk 2>/dev/null; exit 0
}}
_qtick() {{ _qn=1; _qclock || _qc=$((_qc + _qw)); _qw=100; [ $((_qc - _qs)) -lt $_qd ] || _qend; }}
_qwait() {{
_qn=; wait $_qp; _qr=$?
while [ "$_qn" ] && [ $_qr -gt 128 ]; do _qn=; wait $_qp; _qx=$?; [ $_qx = 127 ] || _qr=$_qx; done
_qclock; _qsay $_qr
}}
_qrun() {{ _qi=$1 _qd=$2 _qs=$_qc; ( _qx=$3; shift 3; eval "$_qx" ) & _qp=$!; _qwait; }}
trap _qtick USR1
( trap 'kill $! 2>/dev/null; exit 0' TERM; sleep {sleep} & wait $!
while kill -USR1 $$; do sleep 1 & wait $!; done ) </dev/null >/dev/null 2>&1 &
_qk=$!
_qclock
"""

_TAIL = "kill $_qk 2>/dev/null\nexit 0\n"

_FED = """\
_qin() {{ base64 -d <<'{mark}'
{data}{mark}
}}
_qfed() {{ _qi=$1 _qd=$2 _qs=$_qc; ( _qx=$3; shift 3; _qin | ( eval "$_qx" ) ) & _qp=$!; _qwait; }}
"""

_STREAM = """\
exec 4<&0
( exec 4<&-; eval {script} ) </dev/null & _qp=$!
( trap '' TERM; read -r _qx <&4; _qkill TERM; sleep 1; _qkill KILL ) >/dev/null 2>&1 & _qk=$!
exec 4<&-
wait $_qp; _qr=$?
printf '%s 0 %s 0 \\n' $_qm $_qr; printf '%s 0\\n' $_qm >&2
kill -KILL $_qk 2>/dev/null
exit 0
"""


def new_mark() -> str:
    """A word that no output contains by chance."""
    return "qnext-" + secrets.token_hex(12)


@dataclass(frozen=True, slots=True)
class Script:
    """One script with its own deadline in seconds."""

    text: str
    deadline: float


def frame(scripts: Sequence[Script], mark: str, *, group: Group = "own", data: bytes = b"") -> str:
    """The text for ``sh -s`` that runs ``scripts`` one after the other; ``data`` is the stdin of a single script."""
    first = min(script.deadline for script in scripts)
    parts = [
        _head(mark, group),
        _DEADLINES.format(
            first=_centis(first), sleep=f"{first + 0.05:.2f}", grace=TERM_GRACE, deadline_exit=DEADLINE_EXIT
        ),
    ]
    if data:
        parts.append(_FED.format(mark=mark, data=base64.encodebytes(data).decode()))
    run = "_qfed" if data else "_qrun"
    parts += [
        f"{run} {index} {_centis(script.deadline)} {_quoted(_lean(script.text))}\n" for index, script in enumerate(scripts)
    ]
    return "".join([*parts, _TAIL])


def stream_frame(script: str, mark: str, *, group: Group = "own") -> str:
    """The text for ``sh -s`` that runs one script for as long as its stdin stays open."""
    return _head(mark, group) + _STREAM.format(script=_quoted(script))


def _head(mark: str, group: Group) -> str:
    return _HEAD.format(mark=mark, path=PATH_TAIL, group=_GROUP[group])


def _centis(seconds: float) -> int:
    return max(1, math.ceil(seconds * 100))


_PLAIN = re.compile(r"(?:cat|date|df|head|id|ls|readlink|stat|tail|uname|wc|/[\w./-]+)(?: [\w ./:=+%,@-]*)?\Z")
"""A single command that is certainly a program, with nothing in it that means anything to the shell."""


def _lean(text: str) -> str:
    """A script that is one program, without a shell waiting for it: one process less."""
    return f"exec {text}" if _PLAIN.match(text.strip()) else text


def _quoted(text: str) -> str:
    """Always in quotes, so that a script is text to the framing shell, whatever it holds."""
    if "\0" in text:
        raise ValueError("a script cannot hold a NUL character")
    return "'" + text.replace("'", "'\\''") + "'"


@dataclass(frozen=True, slots=True)
class Section:
    """What one script answered. ``seconds`` is the node's own measure; ``cut``: output beyond the cap was dropped."""

    exit: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False
    cut: bool = False


class _Stream:
    """One of the two streams: takes bytes in any pieces, gives the parts between marks, cut to ``cap`` bytes."""

    __slots__ = ("_cap", "_kept", "_mark", "_pending", "closed", "cut", "started")

    def __init__(self, mark: bytes, cap: int) -> None:
        self._mark = mark
        self._cap = cap
        self._pending = bytearray()
        self._kept = bytearray()
        self.cut = False
        self.started = False
        self.closed: list[tuple[bytes, bool, list[str]]] = []
        """Per part: content, whether it was cut, the fields of the mark that follows it."""

    @property
    def current(self) -> bytes:
        """What has come of the part that is still open."""
        return bytes(self._kept + self._pending)

    def feed(self, data: bytes) -> None:
        self._pending += data
        while True:
            at = self._pending.find(self._mark)
            if at < 0:
                self._keep(max(0, len(self._pending) - len(self._mark) + 1))
                return
            end = self._pending.find(b"\n", at)
            if end < 0:
                self._keep(at)
                return
            fields = self._pending[at + len(self._mark) : end].decode("ascii", "replace").split()
            self._keep(at)
            del self._pending[: end - at + 1]
            self._close(fields)

    def _keep(self, size: int) -> None:
        room = self._cap - len(self._kept)
        self._kept += self._pending[: min(size, room)]
        self.cut = self.cut or size > room
        del self._pending[:size]

    def _close(self, fields: list[str]) -> None:
        if self.started:
            self.closed.append((bytes(self._kept), self.cut, fields))
        self.started = True
        self._kept.clear()
        self.cut = False


class Answer:
    """Collects what comes back of a frame with ``count`` scripts."""

    __slots__ = ("_count", "_err", "_out")

    def __init__(self, mark: str, count: int, *, cap: int = PROBE_CAP) -> None:
        self._count = count
        self._out = _Stream(mark.encode(), cap)
        self._err = _Stream(mark.encode(), cap)

    def feed(self, out: bytes, err: bytes) -> None:
        """Take bytes of stdout and of stderr, in any pieces."""
        if out:
            self._out.feed(out)
        if err:
            self._err.feed(err)

    @property
    def started(self) -> bool:
        """Whether the framing shell has spoken at all."""
        return self._out.started

    @property
    def groupless(self) -> bool:
        """Whether the shell refused because it leads no process group, so that it could not keep deadlines."""
        return any(fields == ["nogroup"] for _, _, fields in self._out.closed)

    @property
    def heard(self) -> int:
        """How many scripts have ended, as stdout tells it."""
        return len(self._out.closed)

    @property
    def done(self) -> bool:
        """Whether nothing more is to come: all scripts have ended on both streams, or one was ended at its deadline."""
        ended = min(len(self._out.closed), len(self._err.closed))
        return self.groupless or ended >= self._count or (ended > 0 and self._timed_out(ended - 1))

    def sections(self) -> list[Section]:
        """The scripts that have ended, in order: fewer than asked for where one was ended at its deadline."""
        return [self._section(index) for index in range(min(len(self._out.closed), len(self._err.closed)))]

    def unframed(self) -> tuple[bytes, bytes]:
        """What came instead of an answer, or after the last mark: evidence where the frame broke off."""
        return self._out.current, self._err.current

    def _timed_out(self, index: int) -> bool:
        return "timeout" in self._out.closed[index][2]

    def _section(self, index: int) -> Section:
        out, out_cut, fields = self._out.closed[index]
        err, err_cut, _ = self._err.closed[index]
        status, centis = (int(fields[1]), int(fields[2])) if _WELL_FORMED.match(" ".join(fields)) else (255, 0)
        return Section(status, out, err, centis / 100, self._timed_out(index), out_cut or err_cut)


_WELL_FORMED = re.compile(r"\d+ \d+ -?\d+( timeout)?\Z")
