"""Which lines of followed logs are shown: by how loud they are, and by what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from provision.diagnose import logline
from provision.diagnose.merge import LogLine

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_VLLM = re.compile(r"(?:\(([\w.:+-]+)(?: pid=\d+)?(?:, ip=[\d.]+)?\)\s?)?(?:(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s)?")
"""vLLM's own lines, by far the most: who, and how loud."""

_GRAVE = re.compile(
    r"\s*(?:Traceback \(most recent call last\)|Fatal Python error|terminate called|Segmentation fault)"
)
"""What has no level and is an error all the same, whatever the line before it was."""


class Levels:
    """The level of each line. One without a level has that of the line before it, of the same process and worker."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, str], str] = {}

    def of(self, line: LogLine) -> str:
        """Empty where nothing tells; a note of ours is shown as a warning."""
        if line.note:
            return "WARNING"
        found = _VLLM.match(line.text)
        who, level = (found[1] or "", found[2] or "") if found else ("", "")
        if not level:
            rest = line.text[found.end() :] if found else line.text
            level = "ERROR" if _GRAVE.match(rest) else self._parsed(line.text)
        key = (line.order, who)
        if level:
            self._last[key] = level
            return level
        return self._last.get(key, "")

    @staticmethod
    def _parsed(text: str) -> str:
        return next((parsed.level for parsed in logline.parse(text)), "")


def sieve(
    *, level: str = "", grep: re.Pattern[str] | None = None, invert: bool = False
) -> Callable[[Sequence[LogLine]], list[LogLine]]:
    """Keeps lines of ``level`` and above, and those that ``grep`` finds (not, where ``invert``). Notes stay."""
    levels = Levels()
    loud = frozenset(LEVELS[LEVELS.index(level) :]) if level else frozenset()

    def kept(lines: Sequence[LogLine]) -> list[LogLine]:
        chosen = [line for line in lines if line.note or levels.of(line) in loud] if loud else list(lines)
        if grep is None:
            return chosen
        return [line for line in chosen if line.note or (grep.search(line.text) is None) == invert]

    return kept
