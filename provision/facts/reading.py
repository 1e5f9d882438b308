"""How facts read what their scripts print: sections, pairs, JSON from tools, and what a failed probe says.

A script that looks at several things prints ``@@ words`` before each; nothing here raises on any text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from provision.results import Result


@dataclass(frozen=True, slots=True)
class Section:
    """What stood below ``@@ <words>``."""

    words: tuple[str, ...]
    body: str

    @property
    def lines(self) -> list[str]:
        return self.body.splitlines()


def sections(text: str) -> list[Section]:
    """The text cut at its ``@@`` lines; what stands before the first one is left out."""
    parts = re.split(r"^@@ (.*)\n?", text, flags=re.MULTILINE)
    return [Section(tuple(title.split()), body) for title, body in zip(parts[1::2], parts[2::2], strict=False)]


def section(text: str, *words: str) -> str:
    """The body of the first section with these words; empty where there is none."""
    return next((s.body for s in sections(text) if s.words == words), "")


def pairs(lines: Iterable[str], separator: str = "=") -> dict[str, str]:
    """``key=value`` lines (or another separator); the first of equal keys counts; quotes around values are dropped."""
    found: dict[str, str] = {}
    for line in lines:
        key, there, value = line.partition(separator)
        if there:
            found.setdefault(key.strip(), _unquoted(value.strip()))
    return found


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def integer(text: str) -> int | None:
    """A decimal number, else None."""
    text = text.strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def decimal(text: str) -> float | None:
    """A decimal fraction, else None."""
    text = text.strip()
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text) else None


def complaints(raw: Result) -> tuple[str, ...]:
    """What the probe as a whole says went wrong: its deadline, or its exit status with its last words."""
    if raw.timed_out:
        return (f"no answer within {raw.seconds:.0f} s",)
    if raw.exit != 0:
        last = raw.tail(1)
        return (f"the probe ended with exit status {raw.exit}" + (f": {last}" if last else ""),)
    return ()


class Json:
    """A JSON value as a tool wrote it: asking for what isn't there, or is of another type, gives an empty answer."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    @classmethod
    def load(cls, text: str) -> Json:
        """Parse; not JSON is ``Json(None)``."""
        try:
            return cls(json.loads(text))
        except (ValueError, RecursionError):
            return cls(None)

    def at(self, *keys: str) -> Json:
        """The value below ``keys``, one key a level."""
        value = self.value
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return Json(value)

    def __bool__(self) -> bool:
        return bool(self.value)

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else ""

    @property
    def number(self) -> int | None:
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else None

    @property
    def true(self) -> bool:
        return self.value is True

    @property
    def items(self) -> list[Json]:
        return [Json(item) for item in self.value] if isinstance(self.value, list) else []

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(item.text for item in self.items if item.text)

    @property
    def entries(self) -> dict[str, Json]:
        return {str(k): Json(v) for k, v in self.value.items()} if isinstance(self.value, dict) else {}
