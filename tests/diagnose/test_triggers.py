"""Triggers: what a line must hold for a signature to have a chance."""

from __future__ import annotations

import re

import pytest

from provision.diagnose.catalogue import entries
from provision.diagnose.triggers import LENGTH, pieces, triggers


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("abcdef?gh", ("abcde",)),
        ("foo(?:bar)? kernel|panic", ("kerne", "panic")),
        ("a{2,3}bcdefg", ("bcdef",)),
        (r"\bEI0006\b", ("I0006",)),
        (r"a\.b\(cdefg", ("b(cde",)),
        ("(?<!xyzxyz)panic", ("panic",)),
        ("(?:panic|other)", None),
        (r"panic|\d+", None),
        ("abc+de", None),
        ("abc[defgh]ij", None),
        (r"abc\sdef", None),
    ],
)
def test_the_rarest_piece_of_each_alternative(pattern: str, found: tuple[str, ...] | None) -> None:
    told = triggers(pattern)
    assert (told is None) == (found is None)
    assert [len(piece) for piece in told or ()] == [LENGTH] * len(found or ())
    for piece, wanted in zip(told or (), found or (), strict=True):
        assert piece == wanted or re.search(pattern, f"x{piece}") is None


def test_pieces_of_a_line() -> None:
    assert pieces("panics") == {"panic", "anics"}
    assert pieces("abc") == set()


def test_hardly_an_entry_is_tried_on_every_line() -> None:
    without = [entry.id for entry in entries() if triggers(entry.signature.pattern) is None]
    assert len(without) < len(entries()) / 10
