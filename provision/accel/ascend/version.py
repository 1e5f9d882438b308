"""The order of Ascend's versions: HDK (driver), firmware, CANN, and the tags of vllm-ascend, in one grammar.

Fields are compared one by one; what is missing counts as 0, so 26.0 and 26.0.0 are the same. A field may be a number, a
pre-release, which stands below the plain one (``dev`` < ``alpha`` < ``beta`` < ``T`` < ``rc`` < final), or an addition,
which stands above it and below the next number (``b030``, a build; ``post1``)::

    23.0.rc3 < 23.0.0 < 24.1.rc1 < 24.1.rc1.b030 < 24.1.rc1.1 < 24.1.0 < 24.1.0.3
    8.5.0.alpha001 < 8.5.0-beta.1 < 8.5.0.RC1 < 8.5.0

[domain.md 2.2]
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Field = tuple[int, int]
"""``(number, addition)``; the number of a pre-release is negative, so that it sorts below 0."""

_WIDTH = 10
_BELOW = {"dev": -5, "alpha": -4, "a": -4, "beta": -3, "t": -2, "rc": -1}
_FIELD = re.compile(r"[.\-_]?(?:(dev|alpha|a|beta|t|rc|post|b)[.\-_]?)?([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version that can be compared, and put into a set: only ``key`` counts. ``text`` is what was written."""

    key: tuple[Field, ...]
    text: str = field(compare=False)
    depth: int = field(compare=False)
    """How many fields were written."""

    def __str__(self) -> str:
        return self.text

    @property
    def final(self) -> bool:
        """No release candidate, alpha, beta or trial build."""
        return all(number >= 0 for number, _ in self.key)

    def within(self, low: Version, high: Version) -> bool:
        """Whether it lies in a range, both ends included, with whatever begins like the upper end: 7.2.99.1 is in
        [7.0.0, 7.2.99]."""
        return low <= self and self.key[: high.depth] <= high.key[: high.depth]


def parse_version(text: str) -> Version | None:
    """A version as files, tools and tags write it (``v`` before and ``+local`` behind are left out), else None.

    Capitals don't matter. Never raises.
    """
    plain = text.strip().rstrip(".")
    body = plain.lower().partition("+")[0].removeprefix("v")
    fields: list[Field] = []
    place = 0
    while place < len(body):
        match = _FIELD.match(body, place)
        if match is None or len(fields) == _WIDTH:
            return None
        fields.append(_field(match[1] or "", int(match[2])))
        place = match.end()
    if not fields or not body[0].isdigit():
        return None
    key = (*fields, *[(0, 0)] * (_WIDTH - len(fields)))
    return Version(key, plain, len(fields))


def _field(word: str, number: int) -> Field:
    if not word:
        return number, 0
    if word in _BELOW:
        return _BELOW[word], number
    return 0, number + 1
