"""What a boot does to a node: whatever ran is gone, what was installed is loaded, and it is another boot.

``systemctl reboot`` on the node sets ``boot/requested``; the SSH server then cuts every connection, calls ``go_down``,
stays away for a moment, and calls ``come_up`` before it listens again.
"""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress

from provision.rehearsal import host
from provision.rehearsal.node import Node
from provision.rehearsal.standins.docker.shim import timestamp
from provision.rehearsal.standins.docker.store import Store
from provision.rehearsal.standins.ps import processes

SECONDS = 1.0
"""How long a node is away, where no fault says otherwise."""

_EXIT = 255
"""Exit status that docker gives a container which its daemon finds dead after a boot."""


def go_down(node: Node) -> None:
    """End all that runs on the node at once, as a machine does that loses its power."""
    for container in Store(node).containers():
        if container.running:
            container.write_state(
                Status="exited", Running=False, Pid=0, ExitCode=_EXIT, FinishedAt=timestamp(node), OOMKilled=False
            )
    for pid in processes(node):
        if pid != os.getpid():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    for name in os.listdir(f"{node.root}/proc"):
        if name.isdigit():
            shutil.rmtree(f"{node.root}/proc/{name}", ignore_errors=True)


def come_up(node: Node) -> None:
    """Another boot, of the driver and firmware that are on the disk."""
    state = node.state
    state.set("boot/count", str(int(state.number("boot/count")) + 1))
    for part in ("driver", "firmware"):
        if version := state.get(f"{part}/installed"):
            state.set(f"{part}/version", version)
            state.clear(f"{part}/installed")
    state.clear("boot/requested")
    host.follow(node)
