"""What CANN writes beside a server's own output: plogs in the container, by process, in its recorded format.

``[ERROR] HCCL(17528,python3):2026-03-18-10:33:52.113.403 [hccl_socket_manager.cc:797] [18744]text`` [samples of plogs].
They lie below ``~/ascend/log``, or where ``ASCEND_PROCESS_LOG_PATH`` says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from provision.rehearsal import wall
from provision.rehearsal.rewrite import map_path


def write(root: str, kind: str, level: str, lines: Sequence[tuple[str, str]], module: str = "HCCL") -> None:
    """Append ``(place in the source, text)`` to the process's own plog of this ``kind``: debug, run or security.
    ``root``: the file system of its container."""
    path = _path(root, kind)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pid = os.getpid()
    with open(path, "a", encoding="utf-8") as file:
        for where, text in lines:
            file.write(f"[{level}] {module}({pid},python3):{moment()} [{where}] [{pid}]{text}\n")


def moment() -> str:
    """Now, as CANN writes times: local, with milliseconds and microseconds apart."""
    at = int(wall.now() % 1 * 1e6)
    return wall.local("%Y-%m-%d-%H:%M:%S") + f".{at // 1000:03d}.{at % 1000:03d}"


def _path(root: str, kind: str) -> str:
    """One file a process: it has been there since its first line."""
    chosen = os.environ.get("ASCEND_PROCESS_LOG_PATH", "")
    folder = os.path.join(map_path(chosen, root) if chosen else os.path.join(root, "root/ascend/log"), kind, "plog")
    own = f"plog-{os.getpid()}_"
    there = [name for name in os.listdir(folder) if name.startswith(own)] if os.path.isdir(folder) else []
    began = f"{own}{wall.local('%Y%m%d%H%M%S')}{int(wall.now() % 1 * 1000):03d}.log"
    return os.path.join(folder, there[0] if there else began)
