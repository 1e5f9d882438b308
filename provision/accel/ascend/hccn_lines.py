"""The lines of ``hccn_tool`` and the device each speaks of, for the parsers of its many answers.

The tool names no device in most of its output, so a loop's answers are told apart by their order alone, or by the
command line that some logs print above each. Whoever calls it prints a marker per device instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from provision.accel.ascend.text import complaints

T = TypeVar("T")

ADDRESS = r"[0-9a-fA-F.:]{2,45}"
_COMMAND = re.compile(r"hccn_tool\s.*?-i\s+([0-9]{1,9})\b", re.ASCII)
_OWN = re.compile(r"\[(?:devid|device) ([0-9]{1,9})\] *", re.ASCII)


def numbered(text: str) -> Iterator[tuple[str, int | None]]:
    """Lines with the device they speak of: by their own prefix (``[devid N]``) or the command line printed above."""
    above: int | None = None
    for line in text.splitlines():
        stripped = line.strip()
        if command := _COMMAND.search(stripped):
            above = int(command[1])
        elif own := _OWN.match(stripped):
            yield stripped[own.end() :], int(own[1])
        else:
            yield stripped, above


def collect(text: str, read: Callable[[str, int | None], T | None]) -> list[T]:
    """What ``read`` makes of each line, without its Nones."""
    return [value for line, device in numbered(text) if (value := read(line, device)) is not None]


def problems(text: str, found: Sequence[object], what: str) -> tuple[str, ...]:
    """What the text complains of, what was left out of it, and ``no <what>`` with its last line if nothing is found."""
    said = list(complaints(text))
    if any(line.strip() == "..." for line in text.splitlines()):
        said.append("lines were left out ('...')")
    if not found:
        last = text.strip().splitlines()[-1:]
        said.append(f"no {what} in the output" + (f": {last[0].strip()[:120]}" if last else ""))
    return tuple(said)
