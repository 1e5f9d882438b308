"""A TCP connection (or a ProxyCommand's pipe) to an SSH server, within a deadline that covers the name look-up too."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from provision.clock import monotonic
from provision.errors import ConnectFailed

DEAD_AFTER = 30.0
"""Seconds without an acknowledgement from the other machine after which the kernel gives a connection up."""

_STEP = 3.0


class TurnedAway(ConnectFailed):
    """The server closed the connection before the login: it is full (MaxStartups), or starting. Try again soon."""


@dataclass(slots=True)
class Link:
    """An open way to a server; ``explain`` tells what a proxy command said about its failure."""

    socket: socket.socket
    explain: Callable[[], str] = lambda: ""
    end: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Close, waking whoever is blocked in a read."""
        with contextlib.suppress(OSError):  # the other side may be faster
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.end()


def dial(host: str, port: int, timeout: float) -> Link:
    """Connect by TCP. Raises ``ConnectFailed`` with the reason in words."""
    until = monotonic() + timeout
    failure: OSError | None = None
    addresses = _resolve(host, port, timeout)
    for position, (family, address) in enumerate(addresses):
        left = until - monotonic()
        share = left if position == len(addresses) - 1 else min(left, _STEP)
        if left <= 0:
            break
        try:
            return Link(_connect(family, address, share))
        except OSError as error:
            failure = error
    raise _failed(host, port, failure or TimeoutError(), timeout)


def _connect(family: int, address: Any, timeout: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(DEAD_AFTER * 1000))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolve(host: str, port: int, timeout: float) -> list[tuple[int, Any]]:
    """Addresses of ``host``. A name's look-up can't be interrupted: it is left behind when late."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = _look_up(host, port, timeout)
    return [(family, address) for family, _, _, _, address in found]


def _look_up(host: str, port: int, timeout: float) -> list[Any]:
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def look() -> None:
        try:
            answers.put(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            answers.put(OSError("not a host name"))

    threading.Thread(target=look, name=f"look up {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        answer = OSError(f"the name look-up took longer than {timeout:g} s")
    if isinstance(answer, OSError):
        told = answer.strerror or str(answer)
        raise ConnectFailed(
            f"{host}: {told}",
            hint=f"is the name right (`getent hosts {host}`)? ansible_host may be an IP address",
        )
    return answer


_WORDS = {
    errno.ECONNREFUSED: (
        "connection refused",
        "does sshd run there, on this port? `systemctl status sshd` on the node's console",
    ),
    errno.EHOSTUNREACH: ("no route to host", "is the node up and in this network? check its address and the routes"),
    errno.ENETUNREACH: ("network unreachable", "is the controller in the network (VPN)? check its routes"),
}


def _failed(host: str, port: int, error: OSError, timeout: float) -> ConnectFailed:
    where = f"{host}:{port}"
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return ConnectFailed(
            f"{where}: no answer within {timeout:g} s",
            hint="is the node up, the address right, and no firewall in between? (ansible_host, ansible_port)",
        )
    if error.errno == errno.ECONNRESET:
        return TurnedAway(f"{where}: connection reset", hint="a firewall, or a full sshd (MaxStartups), turned it away")
    words, hint = _WORDS.get(error.errno or 0, (error.strerror or str(error), ""))
    return ConnectFailed(f"{where}: {words}", hint=hint)


def run_proxy(command: str) -> Link:
    """Start a ProxyCommand; its stdin and stdout become a socket. Raises ``ConnectFailed``."""
    ours, theirs = socket.socketpair()
    try:
        child = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise ConnectFailed(f"proxy command {command!r}: {error}") from error
    finally:
        theirs.close()
    assert child.stderr is not None
    said = bytearray()
    listener = threading.Thread(target=_listen, args=(child.stderr.fileno(), said), daemon=True)
    listener.start()

    def explain() -> str:
        listener.join(timeout=0.5)
        return said.decode("utf-8", "replace").strip()

    return Link(ours, explain, lambda: _end(child, listener))


def _listen(fd: int, said: bytearray) -> None:
    while data := os.read(fd, 4096):
        said.extend(data)
        del said[:-4096]


def _end(child: subprocess.Popen[bytes], listener: threading.Thread) -> None:
    child.terminate()
    try:
        child.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    listener.join(timeout=1.0)
    if child.stderr:
        child.stderr.close()
