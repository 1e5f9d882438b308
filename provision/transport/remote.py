"""What every transport does the same way, over the one thing in which they differ: starting a ``sh``.

A subclass opens a ``Session`` for a constant, short command line (``exec sh -s``, or sudo in front of it) that any
login shell understands; everything else travels on stdin. See ``framing`` for what is said.
"""

from __future__ import annotations

import math
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from provision.clock import monotonic, now
from provision.errors import CommandFailed, ConnectionLost, DeadlineExceeded, RemoteError, SudoRefused
from provision.facts.base import Fact
from provision.results import DEADLINE_EXIT, Result
from provision.shell import quote
from provision.transport.base import Counters, same_probe
from provision.transport.engine import worded
from provision.transport.framing import (
    PROBE_CAP,
    TERM_GRACE,
    Answer,
    Group,
    Script,
    Section,
    frame,
    new_mark,
    stream_frame,
)

GRACE = 15.0 + TERM_GRACE
"""Seconds beyond its deadline that a command may stay silent before the connection counts as broken."""

COPY_DEADLINE = 120.0
"""Seconds for writing or reading a file, plus one for every MiB."""

RUN_CAP = 256 * 1024 * 1024
"""Bytes of a command's stdout, and of its stderr, that are kept: a bound for our memory, far above real outputs."""

MAX_SESSIONS = 8
"""Channels that run something at the same time on one connection; sshd's default MaxSessions is 10."""

_MIB = 1024 * 1024
_READY = ":qnext-ready"
_GO = ":qnext-go"
_BOOT = f"echo {_READY}; while IFS= read -r L; do case $L in {_GO}) exec sh -s;; esac; done"
_LEAD = "command -v setsid >/dev/null && exec setsid sh -s; exec sh -s"
_SUDO_DEADLINE = 20.0
_IDLE = 60.0
_MOMENT = 0.5
_ERROR_TAIL = 64 * 1024


class Heard(NamedTuple):
    """What came in: bytes of stdout and stderr, and whether the session has ended (nothing more will come)."""

    out: bytes
    err: bytes
    ended: bool


class Session(Protocol):
    """A command under way on the node. Methods raise ``ConnectionLost`` when the connection breaks."""

    def send(self, data: bytes, *, end: bool) -> None:
        """Write to its stdin, and close that where ``end``. May return before all is written."""

    def receive(self, timeout: float, *, eager: bool = False) -> Heard:
        """Wait for the end, or where ``eager`` for any output, at most ``timeout`` seconds; what has come until then.

        Output may be given earlier. Not to wake for every packet is what makes many nodes at a time cheap.
        """

    def status(self) -> int | None:
        """Exit status after the end; None where the node told none (a signal)."""

    def finish(self) -> None:
        """All has been heard: give the other side a moment to end it, as some servers trip over being cut short."""

    def close(self) -> None:
        """Be done with it, ended or not. Never raises."""


class RemoteTransport(ABC):
    """A transport but for opening sessions and TCP connections. Thread-safe."""

    def __init__(
        self, name: str, *, sudo: bool, sudo_password: Callable[[], str] | None = None, prologue: str = ""
    ) -> None:
        """``prologue``: lines of sh that stand before every script that says ``docker``."""
        self._name = name
        self._prologue = prologue
        self._counters = Counters()
        self._sudo = sudo
        self._sudo_password = sudo_password
        self._sudo_proven = False
        self._leads = True
        self._slots = threading.BoundedSemaphore(MAX_SESSIONS)
        self._count_lock = threading.Lock()
        self._counters.connections = 1

    @property
    def name(self) -> str:
        return self._name

    @property
    def counters(self) -> Counters:
        return self._counters

    @property
    def alive(self) -> bool:
        """Whether it can be used, as far as is known here."""
        return True

    def count_in(self, counters: Counters) -> None:
        """From now on count in ``counters``, which may hold what earlier connections cost."""
        with self._count_lock:
            counters.execs += self._counters.execs
            counters.connections += self._counters.connections
            self._counters = counters

    @abstractmethod
    def _start(self, command: str) -> Session:
        """Start a command line."""

    @abstractmethod
    def _broken(self, reason: str) -> ConnectionLost:
        """Give the connection up; the error to raise."""

    # ---- the Transport protocol

    def run(self, script: str, *, deadline: float, input: bytes = b"", become: bool = True, label: str = "") -> Result:
        """See ``Transport.run``."""
        section = self._run(worded(self._prologue, script), deadline, input, become)
        return _result(label or "command", section, RUN_CAP)

    def probe(self, facts: Sequence[Fact[object]], *, become: bool = True) -> dict[Fact[object], Result]:
        """See ``Transport.probe``. A probe that outruns its deadline costs that and another exec for those after it."""
        facts = same_probe(facts)
        scripts = [Script(worded(self._prologue, fact.script()), fact.deadline) for fact in facts]
        found: dict[int, Section] = {}
        while left := [index for index in range(len(scripts)) if index not in found]:
            sections = self._ask([scripts[index] for index in left], become, cap=PROBE_CAP)
            found.update((left[position], section) for position, section in sections.items())
        return {fact: _result(fact.name, found[index], PROBE_CAP) for index, fact in enumerate(facts)}

    def stream(self, script: str, *, become: bool = True, deadline: float | None = None) -> Iterator[bytes]:
        """See ``Transport.stream``. Raises ``CommandFailed`` at the end where the script failed."""
        return self._streamed(_Lines, script, become, deadline)

    def pipe(self, script: str, *, become: bool = True, deadline: float | None = None) -> Iterator[bytes]:
        """See ``Transport.pipe``. Raises ``CommandFailed`` at the end where the script failed."""
        return self._streamed(_Raw, script, become, deadline)

    def put(self, path: str, content: bytes, *, mode: int, become: bool = True) -> None:
        """See ``Transport.put``. Raises ``CommandFailed`` with the node's words, e.g. where the disk is full."""
        label = f"write {path}"
        result = self.run(
            _PUT.format(path=quote(path), size=len(content), mode=f"{mode:04o}"),
            deadline=COPY_DEADLINE + len(content) / _MIB,
            input=content,
            become=become,
            label=label,
        )
        result.check(node=self._name, hint=_put_hint(path, result))

    def get(self, path: str, *, become: bool = True, offset: int = 0, length: int = 0) -> bytes:
        """See ``Transport.get``. The content is whole, as far as the node's ``cat`` says."""
        section = self._run(_reading(path, offset, length), COPY_DEADLINE + length / _MIB, b"", become)
        result = _result(f"read {path}", section, RUN_CAP)
        if section.cut:
            raise CommandFailed(f"read {path}: larger than {RUN_CAP // _MIB} MiB", result, node=self._name)
        result.check(node=self._name)
        return section.stdout

    # ---- one exec

    def _run(self, script: str, deadline: float, data: bytes, become: bool) -> Section:
        return self._ask([Script(script, deadline)], become, cap=RUN_CAP, data=data)[0]

    def _ask(self, scripts: Sequence[Script], become: bool, *, cap: int, data: bytes = b"") -> dict[int, Section]:
        """One exec. The scripts that ended, by position: at least one, and all but where one outran its deadline."""
        mark = new_mark()
        answer = Answer(mark, scripts, cap=cap)
        with self._session(become) as session:
            asked = now()
            self._enter(session, frame(scripts, mark, group=self._group(become), data=data), become, end=True)
            self._listen(session, answer, scripts, become)
            heard = now()
            session.finish()
        if answer.groupless:
            self._leads = False
            return self._ask(scripts, become, cap=cap, data=data)
        return answer.sections(asked, heard)

    def _listen(self, session: Session, answer: Answer, scripts: Sequence[Script], become: bool) -> None:
        ended, running, until = False, answer.running, 0.0
        while not answer.done:
            if ended:
                raise self._no_answer(session, answer, become)
            if answer.running is not running or not until:
                running = answer.running
                until = monotonic() + (0.0 if running is None else scripts[running].deadline) + GRACE
            out, err, ended = session.receive(until - monotonic())
            answer.feed(out, err)
            if monotonic() >= until and answer.running is running and not answer.done:
                raise self._broken(f"no answer {GRACE:.0f} s after the deadline of a command")

    @contextmanager
    def _session(self, become: bool) -> Iterator[Session]:
        if not self._slots.acquire(timeout=600.0):
            raise RemoteError(f"{MAX_SESSIONS} commands at once on this node for ten minutes", node=self._name)
        try:
            session = self._start(self._command(become))
            with self._count_lock:
                self._counters.execs += 1
            try:
                yield session
            finally:
                session.close()
        finally:
            self._slots.release()

    # ---- sudo and process groups

    def _becomes(self, become: bool) -> bool:
        return become and self._sudo

    def _group(self, become: bool) -> Group:
        if not self._leads:
            return "any"
        return "parent" if self._becomes(become) else "own"

    def _command(self, become: bool) -> str:
        shell = "sh -s" if self._leads else f"sh -c '{_LEAD}'"
        if not self._becomes(become):
            return f"exec {shell}"
        if self._sudo_password is None:
            return f"exec sudo -n {shell}"
        boot = _BOOT if self._leads else _BOOT.replace("exec sh -s;;", f"{_LEAD};;")
        return f"exec sudo -S -p '' sh -c '{boot}'"

    def _enter(self, session: Session, text: str, become: bool, *, end: bool) -> None:
        """Send a frame, behind sudo's password where it wants one.

        Until sudo has taken the password once on this connection nothing else is sent: a wrong password must not make
        sudo read the frame as the next two attempts, which would lock the account.
        """
        head = ""
        if self._becomes(become) and self._sudo_password is not None:
            head = f"{_GO}\n"
            password = self._sudo_password() + "\n"
            if self._sudo_proven:
                head = password + head
            else:
                session.send(password.encode(), end=False)
                self._await_sudo(session)
        session.send((head + text).encode("utf-8", "surrogateescape"), end=end)

    def _await_sudo(self, session: Session) -> None:
        out, err, until = b"", b"", monotonic() + _SUDO_DEADLINE
        while f"{_READY}\n".encode() not in out:
            heard = session.receive(max(0.0, until - monotonic()), eager=True)
            out, err = out + heard.out, err + heard.err
            if heard.ended or _WRONG.search(err) or monotonic() >= until:
                status = (session.status() if heard.ended else None) or 1
                raise self._sudo_refused(Result("sudo", status, _text(out), _text(err)))
        self._sudo_proven = True

    def _no_answer(self, session: Session, answer: Answer, become: bool) -> RemoteError | ConnectionLost:
        """The session ended before the answer did."""
        out, err = answer.unframed()
        status = session.status()
        result = Result("sh", -1 if status is None else status, _text(out), _text(err))
        if answer.started:
            told = "by a signal" if status is None else f"with exit status {status}"
            return CommandFailed(
                f"the shell on the node ended {told} in the middle of a script",
                result,
                node=self._name,
                hint="was it killed, by the kernel for want of memory perhaps? see dmesg on the node",
            )
        if self._becomes(become):
            return self._sudo_refused(result)
        return CommandFailed(
            f"no shell on the node (exit status {result.exit})",
            result,
            node=self._name,
            hint="the login user needs a POSIX sh: no forced command, no nologin as its shell; "
            "try `ssh <node> 'exec sh -c id'`",
        )

    def _sudo_refused(self, result: Result) -> SudoRefused:
        reason, hint = _sudo_reason(result, given=self._sudo_password is not None)
        return SudoRefused(f"sudo: {reason}", hint=hint, node=self._name, evidence=result.tail())

    # ---- streams

    def _streamed(self, cut: type[_Cut], script: str, become: bool, deadline: float | None) -> Iterator[bytes]:
        answer = cut(new_mark())
        whole = worded(self._prologue, script)
        with self._session(become) as session:
            self._enter(session, stream_frame(whole, answer.mark, group=self._group(become)), become, end=False)
            yield from self._heard(session, answer, become, deadline)
        if answer.groupless:
            self._leads = False
            yield from self._streamed(cut, script, become, deadline)

    def _heard(self, session: Session, lines: _Cut, become: bool, deadline: float | None) -> Iterator[bytes]:
        errors, ended, started = b"", False, monotonic()
        until = math.inf if deadline is None else started + deadline
        while not lines.done:
            if ended:
                raise self._no_answer(session, lines.broken_off(errors), become)
            left = until - monotonic()
            if left <= 0:
                late = Result("stream", DEADLINE_EXIT, "", lines.plain(errors), monotonic() - started, timed_out=True)
                raise DeadlineExceeded(f"a script had not ended after {deadline:.0f} s", late, node=self._name)
            out, err, ended = session.receive(min(_IDLE, left), eager=True)
            errors = (errors + err)[-_ERROR_TAIL:]
            yield from lines.feed(out)
        if not ended:
            session.send(b"", end=True)
            errors += session.receive(_MOMENT).err
        session.finish()
        if lines.status:
            Result("stream", lines.status, "", lines.plain(errors)).check(node=self._name)


_PUT = """\
p={path}
d=${{p%/*}}
[ -d "$p" ] && {{ echo "$p is a folder" >&2; exit 21; }}
mkdir -p "${{d:-/}}" || exit
t=$(mktemp "$d/.qnext.XXXXXXXX") || exit
trap 'rm -f "$t"' EXIT
cat >"$t" || exit
n=$(wc -c <"$t")
[ "$n" -eq {size} ] || {{ echo "only $n of {size} bytes were written" >&2; exit 74; }}
chmod {mode} "$t" || exit
sync "$t" 2>/dev/null || sync
mv -f "$t" "$p" || exit
trap - EXIT
"""


def _put_hint(path: str, result: Result) -> str:
    if "No space left" in result.stderr:
        return f"free space on the file system of {path}: `df -h` on the node"
    if "Read-only" in result.stderr:
        return f"{path} lies on a file system that is mounted read-only"
    return ""


_WRONG = re.compile(rb"try again|incorrect password|Authentication fail", re.IGNORECASE)


def _sudo_reason(result: Result, *, given: bool) -> tuple[str, str]:
    """What sudo's refusal means, and the remedy."""
    text = result.stderr.lower()
    nopasswd = "a line `<user> ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d (visudo -f), or log in as root"
    if _WRONG.search(result.stderr.encode()):
        return "the password was not accepted", "correct ansible_become_password; one attempt was made"
    if "must have a tty" in text:
        return "it wants a terminal", "remove `Defaults requiretty` from sudoers on the node"
    if "not in the sudoers" in text or "not allowed" in text or "may not run" in text:
        return "the login user may not become root", nopasswd
    if "password is required" in text or "terminal is required" in text or "no askpass" in text:
        return "it asks for a password", f"set ansible_become_password (a secret reference), or {nopasswd}"
    if result.exit == 127 or "not found" in text:
        return "it is not installed on the node", "install sudo on the node, or log in as root (ansible_user: root)"
    told = f"exit status {result.exit}" if result.exit >= 0 else "ended by a signal"
    return f"no shell came up ({told})", f"try `ssh <node> sudo {'-S' if given else '-n'} id`"


def _result(label: str, section: Section, cap: int) -> Result:
    stderr = _text(section.stderr)
    if section.cut:
        stderr += f"\n[output beyond {cap // _MIB} MiB was dropped]\n"
    seconds, when = section.seconds, section.when
    return Result(label, section.exit, _text(section.stdout), stderr, seconds, section.timed_out, when)


def _reading(path: str, offset: int, length: int) -> str:
    if not (offset or length):
        return f"cat -- {quote(path)}"
    # an open that fails says why, and isn't hidden behind the pipe
    tail = f"exec <{quote(path)} || exit\ntail -c +{offset + 1}"
    return f"{tail} | head -c {length}" if length else tail


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


class _Cut(ABC):
    """What lies between the two marks of a stream's stdout, in the pieces that ``feed`` of a subclass cuts."""

    __slots__ = ("_begun", "_rest", "done", "groupless", "mark", "status")

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self.groupless = False
        self._begun = False
        self._rest = b""
        self.done = False
        self.status = 0

    @abstractmethod
    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces that are complete with ``data``."""

    def _ended(self, words: bytes) -> None:
        """Read what stands behind the second mark."""
        word, *status = words.split()
        self.done, self.groupless = True, word == b"nogroup"
        self.status = int(status[0]) if status else 0

    def broken_off(self, errors: bytes) -> Answer:
        """The answer so far, for who explains why there is no more."""
        answer = Answer(self.mark, [])
        begun = f"{self.mark}\n".encode() if self._begun else b""
        answer.feed(begun + self._rest, errors)
        return answer

    def plain(self, errors: bytes) -> str:
        """stderr without the marks."""
        lines = _text(errors).splitlines()
        return "\n".join(line.partition(self.mark)[0] for line in lines if not line.startswith(self.mark))


class _Lines(_Cut):
    """Whole lines, without their ends."""

    __slots__ = ()

    def feed(self, data: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            before, mark, after = line.partition(self.mark.encode())
            if not mark and self._begun:
                yield line
            elif mark and not self._begun:
                self._begun = True
            elif mark:
                self._ended(after)
                if before:
                    yield before
                return


class _Raw(_Cut):
    """Bytes as they are; the end of what has come is held back for as long as it may be a part of the mark."""

    __slots__ = ()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        mark = self.mark.encode()
        if not self._begun:
            self._begin(mark)
        if self._begun and not self.done:
            yield from self._next(mark)

    def _begin(self, mark: bytes) -> None:
        line = next((line for line in self._rest.split(b"\n")[:-1] if mark in line), None)
        if line is not None:
            self._begun = True
            self._rest = self._rest.partition(line + b"\n")[2]

    def _next(self, mark: bytes) -> Iterator[bytes]:
        data, found, words = self._rest.partition(mark)
        if not found:
            held = _beginning(self._rest, mark)
            data, self._rest = self._rest[:held], self._rest[held:]
        elif b"\n" in words:
            self._rest = b""
            self._ended(words)
        else:
            self._rest = mark + words
        if data:
            yield data


def _beginning(data: bytes, mark: bytes) -> int:
    """Where at the end of ``data`` a mark may have begun; its length where none has."""
    start = max(0, len(data) - len(mark) + 1)
    while (start := data.find(mark[:1], start)) >= 0 and not mark.startswith(data[start:]):
        start += 1
    return start if start >= 0 else len(data)
