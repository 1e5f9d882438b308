"""The order of releases."""

from __future__ import annotations

import random

import pytest

from provision.serve.releases import Release, parse_release

ASCENDING = ["0.7.3", "0.7.3.post1", "0.9.1rc1", "0.9.1", "0.10.2rc1", "0.10.2", "0.11.0rc0", "0.11.0rc3", "0.11.0"]
ASCENDING += ["0.18.0", "0.23.0rc1", "0.23.0", "1.0"]


def test_releases_are_ordered_as_they_came() -> None:
    shuffled = [Release(name) for name in ASCENDING]
    random.Random(7).shuffle(shuffled)
    assert [release.name for release in sorted(shuffled)] == ASCENDING


def test_equal_releases() -> None:
    assert Release("0.16") == Release("0.16.0")
    assert hash(Release("0.16")) == hash(Release("0.16.0"))
    assert Release("0.16.0rc1").final == Release("0.16.0")


@pytest.mark.parametrize("text", ["main", "", "v", "0.18.0-a3", "latest", "v0.18.0.dev3", "18"])
def test_other_texts_are_no_releases(text: str) -> None:
    assert parse_release(text) is None
