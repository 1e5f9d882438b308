"""Which loopback addresses a cluster gets, so that several rehearsals (and parallel tests) don't meet.

A network ``127.77.<x>`` is claimed by a file that names its owner; a claim counts while its owner or its server runs.
"""

from __future__ import annotations

import os
import random
import socket
import tempfile
from pathlib import Path

from provision.errors import ProvisionError
from provision.rehearsal.standins.process import alive, birth, server_pid

_NETWORKS = 250


def claim(folder: Path, nodes: int, port: int) -> str:
    """The first three octets for ``folder``'s nodes: 127.77.0 where it is free. Raises ``ProvisionError``."""
    for number in (0, *random.sample(range(1, _NETWORKS), _NETWORKS - 1)):
        network = f"127.77.{number}"
        if _take(network, folder):
            if all(_is_free(f"{network}.{node}", port) for node in range(1, nodes + 1)):
                return network
            release(folder)
    raise ProvisionError(f"no free loopback network for port {port}", hint="end other rehearsals, or give another port")


def release(folder: Path) -> None:
    """Give up what ``folder`` has claimed."""
    for path in _claims().glob("127.77.*"):
        if _owner(path)[0] == str(folder):
            path.unlink(missing_ok=True)


def free_port(address: str, wanted: int = 8000) -> int:
    """``wanted``, or the next port that nothing on the machine has for all its addresses."""
    return next(port for port in range(wanted, wanted + 1000) if _is_free(address, port))


def _take(network: str, folder: Path) -> bool:
    path = _claims() / network
    if path.exists() and not _holds(path):
        path.unlink(missing_ok=True)
    mine = path.with_name(f"{os.getpid()}.{network}~")
    mine.write_text(f"{folder}\n{os.getpid()} {birth(os.getpid())}\n")
    try:
        os.link(mine, path)
    except FileExistsError:
        return False
    finally:
        mine.unlink()
    return True


def _holds(path: Path) -> bool:
    """Whether who made the claim still runs, or what it was made for. One that was killed holds nothing."""
    folder, pid, born = _owner(path)
    return alive(pid, born) or server_pid(Path(folder)) != 0


def _owner(path: Path) -> tuple[str, int, str]:
    try:
        folder, who = path.read_text().splitlines()
        pid, born = who.split()
    except (OSError, ValueError):
        return "", 0, ""
    return folder, int(pid), born


def _claims() -> Path:
    folder = Path(tempfile.gettempdir()) / f"qnext-rehearsal-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
