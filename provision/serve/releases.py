"""Releases of vllm-ascend, and their order: 0.10.2rc1 < 0.10.2 < 0.10.2.post1 < 0.11.0rc0 …"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, total_ordering

_GRAMMAR = re.compile(
    r"v?(?P<numbers>\d+(?:\.\d+){1,3})(?:\.?(?P<stage>a|b|rc)(?P<serial>\d+))?(?:\.?post(?P<post>\d+))?\Z"
)
_STAGES = {"a": 0, "b": 1, "rc": 2, "": 3}


@total_ordering
@dataclass(frozen=True)
class Release:
    """A release by its name, without the leading v. Equal and ordered by what it means: ``0.16`` is ``0.16.0``."""

    name: str

    @property
    def key(self) -> tuple[tuple[int, ...], int, int, int]:
        return _key(self.name)

    @property
    def final(self) -> Release:
        """The release that this is a candidate of."""
        return Release(".".join(str(n) for n in self.key[0][:3]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Release) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: Release) -> bool:
        return self.key < other.key

    def __str__(self) -> str:
        return self.name


@cache
def _key(name: str) -> tuple[tuple[int, ...], int, int, int]:
    """Tables name the same few releases over and over."""
    match = _GRAMMAR.match(name)
    assert match is not None, name
    numbers = tuple(int(n) for n in match["numbers"].split("."))
    padded = (*numbers, 0, 0, 0, 0)[:4]
    return padded, _STAGES[match["stage"] or ""], int(match["serial"] or 0), int(match["post"] or 0)


def parse_release(text: str) -> Release | None:
    """``v0.11.0rc1`` as a release; None for anything else."""
    return Release(text.removeprefix("v")) if _GRAMMAR.match(text) else None
