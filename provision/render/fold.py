"""Host names as ranges: ``atlas-[1:7],atlas-9``. Sixty-four nodes fit on a line, and what is printed can be typed.

The ranges are Ansible's: both ends included, ``[08:12]`` keeps its zeros. ``unfold`` gives back exactly the names that
were folded, and so does Ansible.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_DIGITS = re.compile(r"\d+", re.ASCII)
_RANGE = re.compile(r"\[(\d+):(\d+)\]", re.ASCII)
_MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class _Split:
    """A name cut around one of its numbers."""

    before: str
    number: str
    after: str

    @property
    def frame(self) -> tuple[str, str]:
        return self.before, self.after

    @property
    def name(self) -> str:
        return self.before + self.number + self.after

    @property
    def padded(self) -> bool:
        return len(self.number) > 1 and self.number[0] == "0"


def fold(names: Iterable[str]) -> str:
    """Names (without ``[``, ``]`` and ``,``) as ranges; groups in the order of their first name."""
    return ",".join(_folded(list(dict.fromkeys(names))))


def unfold(text: str) -> list[str]:
    """The names that ``fold`` made this text from."""
    return [name for part in text.split(",") if part for name in _unfolded(part)]


def _unfolded(part: str) -> Iterator[str]:
    found = _RANGE.search(part)
    if found is None:
        yield part
        return
    first, last = found.groups()
    width = len(first) if first[0] == "0" else 0
    for number in range(int(first), int(last) + 1):
        yield f"{part[: found.start()]}{number:0{width}d}{part[found.end() :]}"


def _folded(names: list[str]) -> Iterator[str]:
    splits = {name: _splits(name) for name in names}
    sizes = Counter(split.frame for choices in splits.values() for split in choices)
    groups: dict[tuple[str, str] | str, list[_Split]] = {}
    for name, choices in splits.items():
        best = max(choices, key=lambda split: sizes[split.frame], default=None)
        groups.setdefault(best.frame if best else name, []).extend([best] if best else [])
    for key, members in groups.items():
        yield from _ranges(members) if members else [str(key)]


def _splits(name: str) -> list[_Split]:
    """All ways to cut a name around a number, the last number first: it is the one that usually counts."""
    found = [match for match in _DIGITS.finditer(name) if len(match.group()) <= _MOST_DIGITS]
    return [_Split(name[: match.start()], match.group(), name[match.end() :]) for match in reversed(found)]


def _ranges(members: list[_Split]) -> Iterator[str]:
    run: list[_Split] = []
    for split in sorted(members, key=lambda split: (int(split.number), len(split.number))):
        if run and not _follows(run, split):
            yield _range(run)
            run = []
        run.append(split)
    yield _range(run)


def _follows(run: Sequence[_Split], split: _Split) -> bool:
    if int(split.number) != int(run[-1].number) + 1:
        return False
    return len(split.number) == len(run[0].number) if run[0].padded else not split.padded


def _range(run: Sequence[_Split]) -> str:
    first = run[0]
    if len(run) == 1:
        return first.name
    return f"{first.before}[{first.number}:{run[-1].number}]{first.after}"
