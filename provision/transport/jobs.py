"""Detached remote jobs: long work on a node that outlives the connection and the controller that started it.

A job is a folder ``<state_dir>/<cluster>/jobs/<name>`` on the node::

    script     what runs
    pid        process id, its start time, the boot it belongs to: so that a number used again isn't taken for the job
    log        stdout and stderr
    exit       exit status, written whole when the job has ended
    started    seconds since the epoch

It runs in a session of its own, so nothing that ends with the connection ends it, and ``cancel`` ends all of it. To
start a job that is under way, with the same script, is to attach to it; one that has ended, or died with the node, runs
again, since whoever asks for it has looked and found that its work is not done.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from provision import clock
from provision.actions import Job, JobProgress
from provision.errors import Interrupted, ProvisionError, RemoteError, Unreachable
from provision.results import DEADLINE_EXIT, Result
from provision.shell import quote
from provision.transport.base import Transport

R = TypeVar("R")

State = Literal["absent", "live", "ended", "dead"]
"""``dead``: it was started, doesn't run, and left no exit status (the node was booted, or it was killed)."""

ASK_DEADLINE = 30.0
"""Seconds that starting, asking and cancelling may take."""

OUT_OF_REACH = 180.0
"""Seconds that a node may be out of reach while its job is waited for."""

LOG_KEPT = 1024 * 1024
"""Characters of the log's end that are kept here."""

TAIL_KEPT = 64 * 1024
"""Characters of the log's end that the result carries."""

_CHUNK = 256 * 1024
_STARTS: dict[str, Literal["started", "attached", "ended"]] = {
    "started": "started",
    "attached": "attached",
    "ended": "ended",
}
_FIRST_POLL, _LAST_POLL = 0.15, 2.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")

_ALIVE = """\
boot=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
since() {
sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | { read -r s x && [ "$s" != Z ] && echo "$x" | cut -d' ' -f19; }
}
alive() {
[ -s "$1/pid" ] && read -r p t b <"$1/pid" && [ "$b" = "${boot:-none}" ] && [ "$(since "$p")" = "$t" ]
}
"""

_WRAP = """\
cd "$1" || exit
t=$(sed "s/.*) //" /proc/$$/stat | cut -d" " -f20)
echo "$$ $t $3" >.pid && mv .pid pid || exit
( trap "kill -KILL \\$! 2>/dev/null; exit" TERM; sleep "$2" & wait $!
echo "ended at the job deadline of $2 s"; echo 124 >.exit; mv .exit exit
kill -TERM -$$; sleep 5; kill -KILL -$$ ) & w=$!
sh ./script
e=$?
kill $w 2>/dev/null
echo $e >.exit && mv .exit exit
"""

_START = """\
umask 077
d={folder}
mkdir -p "$d" && cd "$d" && cat >.script || exit
if alive .; then
if cmp -s .script script; then echo attached; else echo busy; fi
rm -f .script; exit 0
fi
[ {again} = yes ] || [ ! -f exit ] || ! cmp -s .script script || {{ rm -f .script; echo ended; exit 0; }}
command -v setsid >/dev/null || {{ echo 'setsid (util-linux) is not installed' >&2; exit 127; }}
rm -f exit pid .exit .pid && mv .script script && date +%s >started && : >log || exit
setsid sh -c {wrap} qnext-job "$d" {deadline} "${{boot:-none}}" </dev/null >>log 2>&1 &
n=0
while [ ! -f pid ] && [ $n -lt 50 ]; do sleep 0.05; n=$((n + 1)); done
[ -f pid ] || {{ echo 'the job did not come up' >&2; cat log >&2; exit 1; }}
echo started
"""

_POLL = """\
cd {folder} 2>/dev/null || {{ echo absent 0 0; exit 0; }}
if [ -f exit ]; then s=ended; elif alive .; then s=live; elif [ -f exit ]; then s=ended; else s=dead; fi
e=0; [ $s != ended ] || read -r e <exit
n=$(wc -c <log 2>/dev/null || echo 0); n=$((n - {offset}))
[ $n -le {chunk} ] || n={chunk}
[ $n -ge 0 ] || n=0
echo $s $e $n
[ $n -eq 0 ] || tail -c +$(({offset} + 1)) log | head -c $n
"""

_END = """\
end() {
[ -s "$1/pid" ] && [ ! -f "$1/exit" ] && alive "$1" || return 0
kill -TERM -"$p" 2>/dev/null
n=0
while [ $n -lt 50 ] && alive "$1"; do sleep 0.1; n=$((n + 1)); done
kill -KILL -"$p" 2>/dev/null
[ -f "$1/exit" ] || { echo 143 >"$1/.exit" && mv "$1/.exit" "$1/exit"; }
}
"""


class JobBusy(RemoteError):
    """Another script runs under the name of this job."""


@dataclass(frozen=True, slots=True)
class Polled:
    """How a job is; ``text`` is what the log has gained, ``offset`` where to read on."""

    state: State
    exit: int
    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class JobState:
    """One line of ``list_jobs``. ``started`` is in seconds since the epoch, 0 where unknown."""

    name: str
    state: State
    exit: int
    started: int


def start(
    transport: Transport,
    folder: str,
    name: str,
    script: str,
    *,
    deadline: float = 3600.0,
    again: bool = True,
    become: bool = True,
) -> Literal["started", "attached", "ended"]:
    """Start a job, or attach to it. ``ended`` only where not ``again`` and it has ended with this script.

    ``deadline``: seconds after which the node ends it by itself. Raises ``JobBusy``, ``CommandFailed``.
    """
    text = _ALIVE + _START.format(
        folder=_path(folder, name), again="yes" if again else "no", wrap=quote(_WRAP), deadline=f"{deadline:.0f}"
    )
    content = script if script.endswith("\n") else script + "\n"
    result = transport.run(text, deadline=ASK_DEADLINE, input=content.encode(), become=become, label=f"start {name}")
    words = result.check(node=transport.name).stdout.split()
    told = words[-1] if words else ""
    if told == "busy":
        raise JobBusy(
            f"job {name}: a job of this name with another script is under way",
            node=transport.name,
            hint="wait for it, or cancel it, then run again",
        )
    if told in _STARTS:
        return _STARTS[told]
    raise RemoteError(f"job {name}: unexpected answer {told!r}", node=transport.name, evidence=result.tail())


def poll(transport: Transport, folder: str, name: str, *, offset: int = 0, become: bool = True) -> Polled:
    """How a job is, and what its log has gained since ``offset`` bytes."""
    text = _ALIVE + _POLL.format(folder=_path(folder, name), offset=offset, chunk=_CHUNK)
    result = transport.run(text, deadline=ASK_DEADLINE, become=become, label=f"job {name}")
    head, _, log = result.check(node=transport.name).stdout.partition("\n")
    state, status, size = head.split()
    return Polled(_state(state), int(status), log, offset + int(size))


def cancel(transport: Transport, folder: str, name: str, *, become: bool = True) -> None:
    """End a job with all its processes: TERM, then KILL. One that doesn't run is left as it is."""
    text = f"{_ALIVE}{_END}end {_path(folder, name)}\n"
    transport.run(text, deadline=ASK_DEADLINE, become=become, label=f"cancel {name}").check(node=transport.name)


def cancel_all_script(folder: str) -> str:
    """A script that ends every job below ``folder``; an absent folder is fine."""
    return f'{_ALIVE}{_END}for j in {quote(folder)}/*/; do [ ! -d "$j" ] || end "${{j%/}}"; done\n'


def list_jobs(transport: Transport, folder: str, *, become: bool = True) -> list[JobState]:
    """All jobs below ``folder``, by name."""
    text = f"""{_ALIVE}cd {quote(folder)} 2>/dev/null || exit 0
for j in */; do
j=${{j%/}}; [ -f "$j/started" ] || continue
s=dead; e=0; a=0
if [ -f "$j/exit" ]; then s=ended; read -r e <"$j/exit"; elif alive "$j"; then s=live; fi
read -r a <"$j/started"
echo "$j $s $e $a"
done
"""
    result = transport.run(text, deadline=ASK_DEADLINE, become=become, label="list jobs").check(node=transport.name)
    return [_listed(line) for line in result.stdout.splitlines()]


def run_job(
    transport: Transport,
    job: Job,
    *,
    state_dir: str,
    deadline: float | None = None,
    progress: Callable[[JobProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> Result:
    """Run a job to its end, or attach to it. ``state_dir`` is the folder of jobs.

    The result's ``stdout`` is the log's tail. A lost connection is waited out, ``OUT_OF_REACH`` seconds at most; a job
    that died with its node is started once more. Past the deadline it is cancelled. Raises ``Interrupted`` (the job
    goes on), ``JobBusy``, an ``Unreachable``.
    """
    watch = _Watch(transport, job, state_dir, deadline or job.deadline, progress, stop)
    return watch.follow()


class _Watch:
    """One job under the eyes of one controller."""

    def __init__(
        self,
        transport: Transport,
        job: Job,
        folder: str,
        deadline: float,
        progress: Callable[[JobProgress], None] | None,
        stop: threading.Event | None,
    ) -> None:
        self._transport = transport
        self._job = job
        self._folder = folder
        self._tell = progress
        self._stop = stop
        self._began = clock.monotonic()
        self._ends = self._began + deadline
        self._deadline = deadline
        self._log = ""
        self._offset = 0
        self._restarts = 1

    def follow(self) -> Result:
        self._reaching(self._start)
        for pause in _pauses():
            polled = self._reaching(self._poll)
            if polled.state in ("dead", "absent") and self._restarts:
                self._restart()
            elif polled.state != "live" and not polled.text:
                return self._ended(polled)
            if clock.monotonic() >= self._ends:
                return self._outrun()
            if not polled.text or polled.state == "live":
                self._pause(pause)
        raise AssertionError("pauses are endless")

    def _start(self) -> None:
        start(
            self._transport,
            self._folder,
            self._job.name,
            self._job.script,
            deadline=self._job.deadline + 60.0,
            become=self._job.become,
        )

    def _restart(self) -> None:
        self._restarts -= 1
        self._log, self._offset = "", 0
        self._reaching(self._start)

    def _poll(self) -> Polled:
        polled = poll(self._transport, self._folder, self._job.name, offset=self._offset, become=self._job.become)
        self._offset = polled.offset
        if polled.text:
            self._log = (self._log + polled.text)[-LOG_KEPT:]
            self._progressed()
        return polled

    def _progressed(self) -> None:
        if self._tell and self._job.progress:
            self._tell(self._job.progress(self._log))

    def _reaching(self, do: Callable[[], R]) -> R:
        """``do``, again and again while the node is out of reach, within bounds."""
        until = clock.monotonic() + OUT_OF_REACH
        while True:
            try:
                return do()
            except Unreachable as error:
                if not error.retryable or clock.monotonic() >= min(until, self._ends):
                    raise
                if self._tell:
                    self._tell(JobProgress(None, f"{error.message}; the job goes on, connecting again"))
            self._pause(_LAST_POLL)

    def _pause(self, seconds: float) -> None:
        if clock.sleep(seconds, self._stop):
            raise Interrupted(
                f"stopped waiting for {self._job.label}; it goes on on the node",
                node=self._transport.name,
                hint="the next run attaches to it",
            )

    def _ended(self, polled: Polled) -> Result:
        status = polled.exit if polled.state == "ended" else 137
        log = self._log if polled.state == "ended" else f"{self._log}\n[it died without an exit status]\n"
        return self._result(status, log, timed_out=status == DEADLINE_EXIT and "ended at the job deadline" in log)

    def _outrun(self) -> Result:
        cancel(self._transport, self._folder, self._job.name, become=self._job.become)
        return self._result(DEADLINE_EXIT, self._log, timed_out=True)

    def _result(self, status: int, log: str, *, timed_out: bool) -> Result:
        seconds = self._deadline if timed_out else clock.monotonic() - self._began
        return Result(self._job.label, status, log[-TAIL_KEPT:], "", seconds, timed_out)


def _pauses() -> Iterator[float]:
    pause = _FIRST_POLL
    while True:
        yield pause
        pause = min(_LAST_POLL, pause * 1.5)


def _path(folder: str, name: str) -> str:
    if not _NAME.match(name):
        raise ProvisionError(f"{name!r} is no name for a job: letters, digits, dots and dashes only")
    return quote(f"{folder}/{name}")


def _state(word: str) -> State:
    for state in ("absent", "live", "ended"):
        if word == state:
            return state
    return "dead"


def _listed(line: str) -> JobState:
    name, state, status, started = line.split()
    return JobState(name, _state(state), int(status), int(started))
