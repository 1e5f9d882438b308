"""Which nodes and which tasks: batches, tags."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from provision.engine.grammar import Play, Task

T = TypeVar("T")


def batches(nodes: Sequence[T], serial: Sequence[int | str]) -> Iterator[Sequence[T]]:
    """``nodes`` in batches of ``serial``: counts or percentages of all, the last repeating; without any, one batch."""
    sizes = [_size(entry, len(nodes)) for entry in serial] or [max(len(nodes), 1)]
    start = 0
    for turn in range(len(nodes)):
        if start >= len(nodes):
            return
        size = sizes[min(turn, len(sizes) - 1)]
        yield nodes[start : start + size]
        start += size


def _size(entry: int | str, count: int) -> int:
    if isinstance(entry, int):
        return max(entry, 1)
    return max(math.floor(float(entry.rstrip("%")) * count / 100), 1)


def tagged(play: Play, task: Task, tags: Iterable[str], skip_tags: Iterable[str]) -> bool:
    """Whether ``--tags`` and ``--skip-tags`` let a task run.

    ``always``, ``never``, ``all``, ``tagged`` and ``untagged`` are special, as in Ansible.
    """
    return wanted({*play.tags, *task.tags}, set(tags), set(skip_tags))


def wanted(own: set[str], tags: set[str], skip: set[str]) -> bool:
    """The same for a task's ``own`` tags."""
    return _wanted(own, tags) and not _skipped(own, skip)


def _wanted(own: set[str], tags: set[str]) -> bool:
    if "never" in own:
        return bool(own & tags - {"never"}) or "never" in tags
    if not tags or "all" in tags or "always" in own:
        return True
    return bool(own & tags) or ("tagged" in tags and bool(own)) or ("untagged" in tags and not own)


def _skipped(own: set[str], skip: set[str]) -> bool:
    if not skip:
        return False
    if "all" in skip and "always" not in own:
        return True
    return bool(own & skip) or ("tagged" in skip and bool(own)) or ("untagged" in skip and not own)


def too_many(failed: int, of: int, percentage: float | None) -> bool:
    """Whether more than ``percentage`` of a batch failed; never without a limit."""
    return percentage is not None and of > 0 and failed * 100 / of > percentage
