"""The lines of ``hccn_tool`` and the device each speaks of, for the parsers of its many answers.

The tool names no device in most of its output, so a loop's answers are told apart by their order alone, or by the
command line that some logs print above each. Whoever calls it prints a marker per device instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from provision.accel.ascend.text import complaints

T = TypeVar("T")

ADDRESS = r"[0-9a-fA-F.:]{2,45}"
_COMMAND = re.compile(r"hccn_tool\s.*?-i\s+([0-9]{1,9})\b", re.ASCII)
_TROUBLE = re.compile(
    r"\bfail|\berror\b|\bbusy\b|no such|denied|not support|unsupported|time.?out|invalid", re.IGNORECASE
)
_ANSWER = re.compile(
    r"net[ _]health status:|This pkt |recv time out|L1 plane|[\w ]+_(err|error|fail)\w* *:", re.IGNORECASE
)
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


def problems(text: str, found: Sequence[object], what: str, key: str = "") -> tuple[str, ...]:
    """What the text complains of, what was left out of it, and what could not be read.

    ``key``: how each line begins that should have become one of ``found``. With nothing found, the last line is quoted.
    """
    lines = [line for line, _ in numbered(text)]
    said = list(complaints(text))
    if "..." in lines:
        said.append("lines were left out ('...')")
    meant = sum(1 for line in lines if key and re.match(key, line))
    if meant > len(found) > 0:
        said.append(f"{what}: {meant - len(found)} of {meant} lines could not be read")
    words = [line for line in lines if line]
    if not found:
        said.append(f"no {what} in the output" + (f": {words.pop()[:120]}" if words else ""))
    trouble = dict.fromkeys(line[:120] for line in words if _TROUBLE.search(line) and not _ANSWER.match(line))
    return (*said, *(f"it says: {line}" for line in list(trouble)[:5]))


@dataclass(frozen=True, slots=True)
class Block:
    """The lines of one answer."""

    device: int | None
    lines: tuple[str, ...]

    def values(self) -> dict[str, str]:
        """``key: value`` lines, whatever the spaces around the colon; the first of equal keys counts."""
        found: dict[str, str] = {}
        for line in self.lines:
            key, colon, value = line.partition(":")
            if colon:
                found.setdefault(key.strip(), value.strip())
        return found


def blocks(text: str, start: str) -> list[Block]:
    """The text cut into one block an answer: where a line matches ``start``, and where a line names another
    device; one that names none goes with those above it."""
    found: list[tuple[int | None, list[str]]] = []
    for line, device in numbered(text):
        if not found or re.match(start, line) or device not in (None, found[-1][0]):
            found.append((device, []))
        found[-1][1].append(line)
    return [Block(device, tuple(lines)) for device, lines in found]
