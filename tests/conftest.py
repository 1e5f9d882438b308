"""What holds for all tests: the order they start in, and how many examples property tests try.

Few on each save, many with ``HYPOTHESIS_PROFILE=thorough``; they leave no files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from provision import secrets

settings.register_profile("quick", max_examples=30, deadline=None, database=None)
settings.register_profile("thorough", max_examples=1000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that no worker is left with it at the end; the rest stays in random order."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _no_secret_of_another_test() -> Iterator[None]:
    """What one test has revealed is masked in that test alone: a secret "True" would be masked everywhere. (With a
    patch of its own, as a test's is undone before what the test's fixtures put away.)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "_revealed", set())
        patch.setattr(secrets, "_masked", ())
        yield
