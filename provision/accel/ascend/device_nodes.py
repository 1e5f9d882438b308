"""A listing of the NPUs' device nodes, ``ls /dev/davinci*``, with or without ``-l``: a pure parser.

The numbers need not begin at 0, and a node that only root may open gives every other user -8005.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONG = re.compile(
    r"([bcdlps-][rwxsStT-]{9})\S? +[0-9]+ +(\S{1,40}) +(\S{1,40}) .*?(/dev/\S{1,80})(?: -> \S+)?$", re.ASCII
)
_PATH = re.compile(r"/dev/[A-Za-z]\w{0,40}", re.ASCII)
_DIE = re.compile(r"/dev/davinci([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """``mode``, ``owner`` and ``group`` as ``ls -l`` shows them; None in a short listing."""

    path: str
    mode: str | None = None
    owner: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceNodes:
    """``devices``: the N of every /dev/davinciN, ascending. ``other``: what else was listed (``davinci_manager``)."""

    devices: tuple[int, ...] = ()
    other: tuple[str, ...] = ()
    nodes: tuple[DeviceNode, ...] = ()
    problems: tuple[str, ...] = ()


def parse_device_nodes(text: str) -> DeviceNodes:
    """``ls /dev/davinci*`` or ``ls -l``. Never raises."""
    nodes: dict[str, DeviceNode] = {}
    problems: dict[str, None] = {}
    for line in text.splitlines():
        found = list(_listed(line.strip()))
        nodes.update({node.path: node for node in found})
        if not found and line.strip() and not re.match(r"[$#]|total ", line.strip()):
            problems[f"unread: {line.strip()[:120]}"] = None
    numbers = sorted(int(match[1]) for match in map(_DIE.fullmatch, nodes) if match)
    other = tuple(path for path in nodes if not _DIE.fullmatch(path))
    none = () if numbers else ("no /dev/davinci<number> in the listing",)
    return DeviceNodes(tuple(numbers), other, tuple(nodes.values()), (*problems, *none))


def _listed(line: str) -> list[DeviceNode]:
    if long := _LONG.match(line):
        return [DeviceNode(long[4], long[1], long[2], long[3])]
    words = line.split()
    return [DeviceNode(word) for word in words] if words and all(_PATH.fullmatch(word) for word in words) else []
