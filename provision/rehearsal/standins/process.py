"""Processes: becoming another program, and telling them apart (a pid alone doesn't, since it is used again)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pathlib import Path

    from provision.rehearsal.node import Node


def birth(pid: int) -> str:
    """Start time of a process in the kernel's ticks; empty where there is none or it's a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def alive(pid: int, born: str) -> bool:
    """Whether the process with this start time runs."""
    return pid > 0 and birth(pid) == born != ""


def become(program: str, argv: list[str], environment: dict[str, str] | None = None) -> NoReturn:
    """Replace this process by ``program``."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, argv, dict(os.environ) if environment is None else environment)


def show_in_proc(node: Node, pid: int, group: str) -> None:
    """The node's view of /proc gets this process: its own files, and the control group that it is in."""
    folder = os.path.join(node.root, "proc", str(pid))
    os.makedirs(folder, exist_ok=True)
    for name in ("cmdline", "stat", "status", "comm", "environ", "fd"):
        link = os.path.join(folder, name)
        if not os.path.lexists(link):
            os.symlink(f"/proc/{pid}/{name}", link)
    with open(os.path.join(folder, "cgroup"), "w", encoding="utf-8") as file:
        file.write(f"{group}\n")


def hide_in_proc(node: Node, pid: int) -> None:
    """The process is gone."""
    import shutil

    shutil.rmtree(os.path.join(node.root, "proc", str(pid)), ignore_errors=True)


def server_pid(folder: Path) -> int:
    """The process that serves the cluster in ``folder``; 0 where none does."""
    try:
        pid, born = (folder / "server.pid").read_text().split()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return 0
    return int(pid) if alive(int(pid), born) else 0
