"""The seam to the world: what a connection to a node can do.

``ssh`` and ``local`` implement it, ``pool`` hands it out; nobody else talks to nodes.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from provision.facts.base import Fact
from provision.results import Result


@dataclass(slots=True)
class Counters:
    """What a connection has cost: the benchmark and the exec-count test read it."""

    execs: int = 0
    connections: int = 0


class Transport(Protocol):
    """One open connection to one node. Thread-safe; at most 8 channels at once (sshd's MaxSessions is 10).

    Every method raises ``ConnectionLost`` when the connection breaks, and never blocks beyond its deadline plus a
    few seconds of grace.
    """

    @property
    def name(self) -> str: ...

    @property
    def counters(self) -> Counters: ...

    def run(self, script: str, *, deadline: float, input: bytes = b"", become: bool = True, label: str = "") -> Result:
        """Run a POSIX-sh script with its own remote deadline; exit, stdout and stderr as they are. Never raises for a
        failing command; ``Result.timed_out`` and exit 124 where it outran its deadline."""

    def probe(self, facts: Sequence[Fact[object]], *, become: bool = True) -> dict[Fact[object], Result]:
        """Run all facts' scripts as one framed script in one exec."""

    def stream(self, script: str, *, become: bool = True, deadline: float | None = None) -> Iterator[bytes]:
        """Lines of a script's stdout as they come, until it ends or the iterator is closed (which ends it remotely).
        Raises ``DeadlineExceeded`` ``deadline`` seconds after its start, whatever the node does: what cannot be ended
        there (a process in state D) doesn't keep us waiting."""

    def pipe(self, script: str, *, become: bool = True, deadline: float | None = None) -> Iterator[bytes]:
        """A script's stdout as it comes, byte by byte as it is, in pieces of any size; else like ``stream``."""

    def put(self, path: str, content: bytes, *, mode: int, become: bool = True) -> None:
        """Write a file atomically, making parent folders."""

    def get(self, path: str, *, become: bool = True, offset: int = 0, length: int = 0) -> bytes:
        """Read a file, or ``length`` bytes of it from ``offset`` on (0: to its end; fewer where it ends before). Raises
        ``CommandFailed`` where it can't be read."""

    def open_tcp(self, host: str, port: int, *, timeout: float) -> socket.socket:
        """A TCP connection from the node to host:port, carried by this connection (direct-tcpip). Raises OSError."""

    def close(self) -> None: ...


def same_probe(facts: Iterable[Fact[object]]) -> list[Fact[object]]:
    """Facts without repetition, in order."""
    return list(dict.fromkeys(facts))
