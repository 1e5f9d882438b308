"""What the wall clock of a rehearsal node shows: the machine's, and ahead of it by the fault ``clock/skew``.

All that stamps anything on a node asks here: docker, the servers' own log lines, CANN's plogs, the kernel's log.
"""

from __future__ import annotations

import os
from time import gmtime, localtime, strftime

from provision import clock
from provision.rehearsal.node import HERE, MARK
from provision.rehearsal.state import State


def now(state: State | None = None) -> float:
    """Seconds since the epoch on the node with this state; without it, on the one that this process runs on."""
    return clock.now() + (state or _own()).number("clock/skew")


def local(pattern: str, state: State | None = None) -> str:
    """Now, in the node's local time, by ``strftime``'s pattern."""
    return strftime(pattern, localtime(now(state)))


def stamp(at: float) -> str:
    """A time as docker writes times (RFC 3339, UTC, nanoseconds)."""
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(at)) + f".{int(at % 1 * 1e9):09d}Z"


def _own() -> State:
    return State(os.path.join(os.environ.get(MARK, "/nonexistent"), "nodes", os.environ.get(HERE, "none"), "state"))
