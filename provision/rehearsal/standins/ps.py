"""``ps`` and ``pgrep``: the node's processes only, found by the mark that each carries in its environment."""

from __future__ import annotations

import os
import re
import sys

from provision.rehearsal.node import HERE, MARK, Node
from provision.rehearsal.standins.process import become

_REAL = ("/usr/bin/ps", "/bin/ps")
_ALL = re.compile(r"(-[a-zA-Z]*[eA][a-zA-Z]*|-?[a-z]*[ax][a-z]*)\Z")


def main(node: Node, name: str, argv: list[str]) -> int:
    """List processes by handing the real ps the pids that are the node's."""
    if name == "pgrep":
        return _pgrep(node, argv)
    pids = ",".join(str(pid) for pid in processes(node)) or str(os.getpid())
    if not argv or not _ALL.match(argv[0]):
        return _real(argv)
    first = argv[0]
    if first.startswith("-"):
        letters = re.sub(r"[eA]", "", first)
        return _real([*([letters] if letters != "-" else []), *argv[1:], "-p", pids])
    return _real([re.sub(r"[ax]", "", first) or "-f", *argv[1:], "-p", pids])


def processes(node: Node) -> list[int]:
    """Pids of everything that runs on the node."""
    marks = (f"{MARK}={node.cluster_folder}".encode(), f"{HERE}={node.name}".encode())
    return [pid for pid in all_pids() if all(mark in environment(pid) for mark in marks)]


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def environment(pid: int) -> list[bytes]:
    """``NAME=value`` of a process; empty for one that is gone or somebody else's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _pgrep(node: Node, argv: list[str]) -> int:
    full = any(word.startswith("-") and "f" in word for word in argv)
    pattern = next((word for word in argv if not word.startswith("-")), "")
    found = [pid for pid in processes(node) if pid != os.getpid() and re.search(pattern, _title(pid, full=full))]
    sys.stdout.write("".join(f"{pid}\n" for pid in found))
    return 0 if found else 1


def _title(pid: int, *, full: bool) -> str:
    try:
        with open(f"/proc/{pid}/{'cmdline' if full else 'comm'}", "rb") as file:
            return file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _real(argv: list[str]) -> int:
    program = next((path for path in _REAL if os.path.exists(path)), "")
    if not program:
        sys.stderr.write("sh: ps: not found\n")
        return 127
    return become(program, ["ps", *argv])
