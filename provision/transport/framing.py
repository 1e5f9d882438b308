"""The language between controller and node: scripts framed so that their answers can be told apart. Pure text.

One exec carries any number of scripts ("probes"), and all goes over the two streams that an exec has anyway: every
script writes straight to stdout and stderr, and a line with a random mark follows it. Nothing is captured on the node,
so there are no temporary files and no process per probe beyond its own subshell (a probe that is a single program is
not even that); NULs and missing newlines survive; whatever a login shell prints before the first mark is dropped. The
frame is one compound command: a shell that gets only half of it, as the connection broke, does nothing at all.

Deadlines are kept on the node, so they hold when the controller is gone. A watchdog sleeps until the earliest moment at
which the running probe could be late, a few seconds at most. It then looks up in /proc since when the framing shell's
child runs, and where that is too long it ends the whole *process group* (TERM, then KILL), the framing shell included;
the mark it prints before tells the controller, which sends the probes that follow in another exec. The usual case,
nobody is late and all is answered soon, pays one ``sleep`` for all of this.

The shell code keeps to POSIX and runs in dash, busybox and bash; names begin with ``_q`` because scripts share them.
"""

from __future__ import annotations

import base64
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

from provision.results import DEADLINE_EXIT

PROBE_CAP = 1024 * 1024
"""Bytes of a probe's stdout and of its stderr that are kept."""

TERM_GRACE = 2
"""Seconds between TERM and KILL."""

WATCH_SECONDS = 5
"""How long a watchdog sleeps at most before it looks again: where a signal is lost between its fork and its trap, which
dash does once in a thousand starts under load, what is left of it on the node is gone after this time."""

PATH_TAIL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What a non-interactive login may lack: npu-smi lies in /usr/local/sbin."""

Group = Literal["own", "parent", "any"]
"""Whose process group may be ended: the shell's own, also its parent's (sudo's), or else none but single processes."""

_GROUP = {
    "own": "kill -0 -$_qg 2>/dev/null || { printf '%s nogroup\\n' $_qm; cat >/dev/null; exit 0; }",
    "parent": (
        "kill -0 -$_qg 2>/dev/null || { _qg=$PPID; kill -0 -$_qg 2>/dev/null; } || "
        "{ printf '%s nogroup\\n' $_qm; cat >/dev/null; exit 0; }"
    ),
    "any": "kill -0 -$_qg 2>/dev/null || _qg=",
}

_HEAD = """\
LC_ALL=C PATH=${{PATH:-/bin}}:{path}; export LC_ALL PATH
_qm={mark} _qg=$$ _qu=/proc _qt=0 _qc=
_qnow() {{ {{ read -r _qt _qx <$_qu/uptime; }} 2>/dev/null; }}
_qnow; printf '%s begin 0 %s\\n' $_qm $_qt; printf '%s begin\\n' $_qm >&2
{group}
_qkill() {{ if [ "$_qg" ]; then kill -$1 -$_qg; else kill -$1 $$ $_qc; fi 2>/dev/null; }}
"""

_DEADLINES = """\
_qsay() {{ _qnow; printf '%s %s %s %s\\n' $_qm $1 $2 $_qt; }}
_qtell() {{ _qsay $1 $2; printf '%s %s\\n' $_qm $1 >&2; }}
_qone() {{ if [ $2 = 0 ]; then _qsay $1 $2; else _qtell $1 $2; fi; }}
_qstat() {{ {{ read -r _qx <$_qu/$1/stat; }} 2>/dev/null && set -- ${{_qx##*) }} && _qp=$2 && _qb=${{20}}; }}
_qkids() {{
{{ read -r _qx <$_qu/$$/task/$$/children; }} 2>/dev/null && echo $_qx && return
for _qx in $_qu/[0-9]*; do _qk=${{_qx##*/}}; _qstat $_qk && [ $_qp = $$ ] && echo $_qk; done
}}
_qage() {{
_qa=0; _qnow || return
for _qk in $(_qkids); do
[ $_qk = $_qw ] || ! _qstat $_qk || [ $((${{_qt%.*}}${{_qt#*.}} - _qb)) -le $_qa ] || {{
_qa=$((${{_qt%.*}}${{_qt#*.}} - _qb)); _qc=$_qk; }}
done
}}
_qend() {{
trap '' TERM PIPE
_qkill TERM
_qx=0; while [ $_qx -lt {grace}0 ] && kill -0 $_qc 2>/dev/null; do sleep 0.1; _qx=$((_qx + 1)); done
_qnow; printf '%s late %s %s\\n' $_qm {late} $_qt; printf '%s late\\n' $_qm >&2
_qkill KILL
exit 0
}}
_qwatch() {{
trap - TERM
( trap 'kill -KILL $! 2>/dev/null; exit 0' TERM
{{ read -r _qw _qx <$_qu/self/stat; }} 2>/dev/null
_qd=$1 _ql=$2 _qs=$1 _qc=
while :; do
[ $_qs -ge 5 ] || _qs=5
[ $_qs -le {longest} ] || _qs={longest}
sleep $((_qs / 100)).$((_qs / 10 % 10))$((_qs % 10)) >/dev/null 2>&1 & wait $!
kill -0 $$ 2>/dev/null || {{ _qkill KILL; exit 0; }}
_ql=$((_ql - _qs)); _qage
[ $_qa -lt $_qd ] && [ $_ql -gt 0 ] || _qend
_qs=$((_qd - _qa + 1))
done ) </dev/null & _qz=$!
trap 'wait $_qz; exit 143' TERM
}}
_qdone() {{ kill $_qz 2>/dev/null; }}
"""
"""While a watchdog is forked the shell has no trap of its own: a signal that comes before the child has dropped an
inherited trap is lost, in dash and bash alike. For the same reason its ``sleep`` is ended by KILL. What it prints may
find the connection gone, which must not keep it from the KILL that follows: hence PIPE."""

_TAIL = """\
printf '%s end\\n' $_qm; printf '%s end\\n' $_qm >&2
exit 0
"""

_FED = """\
_qin() {{ base64 -d <<'{mark}'
{data}{mark}
}}
"""

_STREAM = """\
{{
exec 4<&0
( exec 4<&-; eval {script} ) </dev/null & _qc=$!
( trap '' TERM; read -r _qx <&4; _qkill TERM; sleep 1; _qkill KILL ) >/dev/null 2>&1 & _qk=$!
exec 4<&-
wait $_qc; _qr=$?
printf '%s end %s 0\\n' $_qm $_qr; printf '%s end\\n' $_qm >&2
kill -KILL $_qk 2>/dev/null
exit 0
}}
"""
"""In braces, so that the shell has read all of it before anything runs: whoever waits on the stdin would else take the
lines that the shell has yet to read for the sign to end."""


def new_mark() -> str:
    """A word that no output contains by chance."""
    return "qnext-" + secrets.token_hex(12)


@dataclass(frozen=True, slots=True)
class Script:
    """One script with its own deadline in seconds."""

    text: str
    deadline: float


def order(scripts: Sequence[Script]) -> list[int]:
    """In which order a frame runs them: by deadline, so that one watchdog serves all that have the same."""
    return sorted(range(len(scripts)), key=lambda index: scripts[index].deadline)


def frame(scripts: Sequence[Script], mark: str, *, group: Group = "own", data: bytes = b"") -> str:
    """The text for ``sh -s`` that runs ``scripts``, one after the other; ``data`` is the stdin of a single script."""
    parts = [_head(mark, group), _DEADLINES.format(grace=TERM_GRACE, late=DEADLINE_EXIT, longest=WATCH_SECONDS * 100)]
    if data:
        parts.append(_FED.format(mark=mark, data=base64.encodebytes(data).decode()))
    parts.append("{\n")
    for deadline, indexes in groupby(order(scripts), lambda index: _centis(scripts[index].deadline)):
        members = list(indexes)
        parts.append(f"_qwatch {deadline} {(deadline + 200) * len(members)}\n")
        parts += [_call(index, scripts[index].text, fed=bool(data)) for index in members]
        parts.append("_qdone\n")
    return "".join([*parts, "} </dev/null\n", _TAIL])


def _call(index: int, script: str, *, fed: bool) -> str:
    if not fed and _PROGRAM.match(script.strip()):
        return f"{script.strip()}; _qone {index} $?\n"
    source = "_qin | " if fed else ""
    return f"{source}( eval {_quoted(script)} ); _qtell {index} $?\n"


def stream_frame(script: str, mark: str, *, group: Group = "own") -> str:
    """The text for ``sh -s`` that runs one script for as long as its stdin stays open."""
    return _head(mark, group) + _STREAM.format(script=_quoted(script))


def _head(mark: str, group: Group) -> str:
    return _HEAD.format(mark=mark, path=PATH_TAIL, group=_GROUP[group])


def _centis(seconds: float) -> int:
    return max(1, math.ceil(seconds * 100))


_PROGRAM = re.compile(r"(?:cat|date|df|head|id|ls|readlink|stat|tail|uname|wc)(?: [\w ./:=+%,@-]*)?\Z")
"""A single program that certainly is one, changes nothing about the shell, and doesn't complain without failing."""


def _quoted(text: str) -> str:
    """Always in quotes, so that a script is text to the framing shell, whatever it holds."""
    if "\0" in text:
        raise ValueError("a script cannot hold a NUL character")
    return "'" + text.replace("'", "'\\''") + "'"


@dataclass(frozen=True, slots=True)
class Section:
    """What one script answered. ``seconds`` is the node's own measure; ``cut``: output beyond the cap was dropped;
    ``when``: between which two moments it ran, by the clock of who asked."""

    exit: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False
    cut: bool = False
    when: tuple[float, float] = (0.0, 0.0)


class _Part(NamedTuple):
    """A stream's bytes up to a mark, and what the mark says."""

    content: bytes
    cut: bool
    word: str
    status: int
    uptime: float


_NOTHING = _Part(b"", False, "", 0, 0.0)


class _Stream:
    """One of the two streams: takes bytes in any pieces, gives the parts between marks, cut to ``cap`` bytes."""

    __slots__ = ("_cap", "_cut", "_kept", "_mark", "_pending", "began", "closed", "started", "word")

    def __init__(self, mark: bytes, cap: int) -> None:
        self._mark = mark
        self._cap = cap
        self._pending = bytearray()
        self._kept = bytearray()
        self._cut = False
        self.started = False
        self.began = 0.0
        """The node's uptime at the first mark."""
        self.word = ""
        """What the last mark said."""
        self.closed: list[_Part] = []

    @property
    def current(self) -> bytes:
        """What has come of the part that is still open."""
        return bytes(self._kept + self._pending)

    def feed(self, data: bytes) -> None:
        self._pending += data
        while True:
            at = self._pending.find(self._mark)
            end = self._pending.find(b"\n", at) if at >= 0 else -1
            if end < 0:
                self._keep(at if at >= 0 else max(0, len(self._pending) - len(self._mark) + 1))
                return
            words = self._pending[at + len(self._mark) : end].decode("ascii", "replace").split()
            self._keep(at)
            del self._pending[: end - at + 1]
            self._close(*words)

    def _keep(self, size: int) -> None:
        room = self._cap - len(self._kept)
        self._kept += self._pending[: min(size, room)]
        self._cut = self._cut or size > room
        del self._pending[:size]

    def _close(self, word: str = "", status: str = "0", uptime: str = "0") -> None:
        if not self.started:
            self.started, self.began = True, float(uptime)
        elif word != "end":
            self.closed.append(_Part(bytes(self._kept), self._cut, word, int(status), float(uptime)))
        self.word = word
        self._kept.clear()
        self._cut = False


class Answer:
    """Collects what comes back of a frame with these scripts."""

    __slots__ = ("_err", "_order", "_out")

    def __init__(self, mark: str, scripts: Sequence[Script], *, cap: int = PROBE_CAP) -> None:
        self._order = order(scripts)
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
        return self._out.word == "nogroup"

    @property
    def running(self) -> int | None:
        """The script that runs now, as far as stdout tells; None after the last."""
        return self._order[len(self._out.closed)] if len(self._out.closed) < len(self._order) else None

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return self.groupless or (self._out.word in _LAST and self._err.word in _LAST)

    def sections(self, asked: float = 0.0, heard: float = 0.0) -> dict[int, Section]:
        """What each script answered, by its index; missing where one before was ended at its deadline.

        The frame was sent at ``asked`` and had ended by ``heard``; what happened in between the node itself measures.
        """
        errors = {part.word: part for part in self._err.closed}
        found: dict[int, Section] = {}
        since = began = self._out.began
        took = max((part.uptime for part in self._out.closed), default=began) - began
        latest = max(asked, heard - took)
        for index, part in zip(self._order, self._out.closed, strict=False):
            said = errors.get("late" if part.word == "late" else str(index), _NOTHING)
            when = asked + since - began, latest + part.uptime - began
            seconds, since = round(max(0.0, part.uptime - since), 2), part.uptime
            found[index] = Section(
                part.status, part.content, said.content, seconds, part.word == "late", part.cut or said.cut, when
            )
        return found

    def unframed(self) -> tuple[bytes, bytes]:
        """What came instead of an answer, or after the last mark: evidence where the frame broke off."""
        return self._out.current, self._err.current


_LAST = ("end", "late")
