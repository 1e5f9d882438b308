"""Batches, tags and failure limits."""

from __future__ import annotations

import pytest

from provision.engine.select import batches, too_many, wanted


@pytest.mark.parametrize(
    ("count", "serial", "sizes"),
    [
        (5, (), [5]),
        (5, (2,), [2, 2, 1]),
        (10, (1, 5), [1, 5, 4]),
        (10, ("30%",), [3, 3, 3, 1]),
        (10, (1, "25%", "100%"), [1, 2, 7]),
        (3, ("10%",), [1, 1, 1]),
        (4, (100,), [4]),
        (0, (2,), []),
        (0, (), []),
    ],
)
def test_batches(count: int, serial: tuple[int | str, ...], sizes: list[int]) -> None:
    nodes = list(range(count))
    made = list(batches(nodes, serial))
    assert [len(batch) for batch in made] == sizes
    assert [node for batch in made for node in batch] == nodes


@pytest.mark.parametrize(
    ("own", "tags", "skip", "runs"),
    [
        ("", "", "", True),
        ("a", "", "", True),
        ("a", "a", "", True),
        ("a", "b", "", False),
        ("", "b", "", False),
        ("always", "b", "", True),
        ("always", "b", "always", False),
        ("never", "", "", False),
        ("never", "all", "", False),
        ("never a", "a", "", True),
        ("never a", "b", "", False),
        ("never", "never", "", True),
        ("a", "all", "", True),
        ("a", "tagged", "", True),
        ("", "tagged", "", False),
        ("", "untagged", "", True),
        ("a", "untagged", "", False),
        ("a", "", "a", False),
        ("a", "a", "a", False),
        ("a", "", "tagged", False),
        ("", "", "untagged", False),
        ("a", "", "all", False),
        ("always", "", "all", True),
    ],
)
def test_tags(own: str, tags: str, skip: str, runs: bool) -> None:
    assert wanted(set(own.split()), set(tags.split()), set(skip.split())) is runs


@pytest.mark.parametrize(
    ("failed", "of", "limit", "stops"),
    [
        (1, 10, None, False),
        (0, 10, 0, False),
        (1, 10, 0, True),
        (1, 10, 10, False),
        (2, 10, 10, True),
        (0, 0, 0, False),
    ],
)
def test_limits(failed: int, of: int, limit: float | None, stops: bool) -> None:
    assert too_many(failed, of, limit) is stops
