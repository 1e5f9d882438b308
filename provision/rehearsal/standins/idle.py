"""A process that does nothing under the title of another program: what a fault leaves running on a node.

The title replaces the arguments where they lie in memory, as setproctitle does it, so that every reader of /proc sees it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def main() -> None:
    """``argv[1]`` is the title. Never returns."""
    title = sys.argv[1]
    with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(") ")[2].split()
    start, end = int(fields[45]), int(fields[46])
    room = end - start
    if start:
        ctypes.memmove(start, title.encode()[: room - 1].ljust(room, b"\0"), room)
    ctypes.CDLL(None).prctl(15, os.path.basename(title.split()[0]).encode()[:15], 0, 0, 0)
    while True:
        signal.pause()
