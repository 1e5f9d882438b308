"""``df``: the node's file systems. ``disk/free`` (bytes) or ``disk/full`` change what is left on the only big one."""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path, unmap
from provision.rehearsal.standins.faulty import maybe_hang

_SIZE = 7 << 40
_FREE = 5 << 40
_INODES = 480_000_000


def main(node: Node, name: str, argv: list[str]) -> int:
    """Print one line a path (or a file system), in the POSIX form, in KiB, or with ``-h``, ``-B1``, ``-i``."""
    maybe_hang(node, "df")
    options = [word for word in argv if word.startswith("-")]
    paths = [word for word in argv if not word.startswith("-")]
    missing = [path for path in paths if not os.path.exists(map_path(path, node.root))]
    for path in missing:
        sys.stderr.write(f"df: {unmap(path, node.root)}: No such file or directory\n")
    found = [_mount(unmap(path, node.root)) for path in paths if path not in missing] if paths else ["/", "/dev/shm"]
    if found:
        sys.stdout.write("\n".join(_table(node, found, "".join(options))) + "\n")
    return 1 if missing else 0


def free_bytes(node: Node) -> int:
    """Room on the big file system."""
    return 0 if node.state.get("disk/full") else int(node.state.number("disk/free", _FREE))


def _mount(path: str) -> str:
    return "/dev/shm" if path.startswith("/dev/shm") else "/"


def _table(node: Node, mounts: list[str], options: str) -> list[str]:
    inodes = "i" in options
    unit = 1 if inodes or "B1" in options or "block-size=1" in options else 1024
    head = (
        "Filesystem     Inodes IUsed IFree IUse% Mounted on"
        if inodes
        else "Filesystem     1024-blocks Used Available Capacity Mounted on"
    )
    lines = [head]
    for mount in mounts:
        device, total, free = _room(node, mount, inodes=inodes)
        used = total - free
        cells = [_human(n) if "h" in options else str(n // unit) for n in (total, used, free)]
        lines.append(f"{device:<14} {' '.join(f'{cell:>12}' for cell in cells)} {_percent(used, total):>5} {mount}")
    return lines


def _room(node: Node, mount: str, *, inodes: bool) -> tuple[str, int, int]:
    if inodes:
        return ("tmpfs" if mount == "/dev/shm" else "/dev/nvme0n1p2"), _INODES, _INODES - 1_200_000
    if mount == "/dev/shm":
        return "tmpfs", 512 << 30, 512 << 30
    return "/dev/nvme0n1p2", _SIZE, free_bytes(node)


def _percent(used: int, total: int) -> str:
    return f"{-(-used * 100 // total)}%"


def _human(number: int) -> str:
    value = float(number)
    for unit in ("", "K", "M", "G", "T"):
        if value < 1024:
            return f"{value:.1f}{unit}" if value < 10 and unit else f"{value:.0f}{unit}"
        value /= 1024
    return f"{value:.1f}P"
