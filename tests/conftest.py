"""What holds for all tests: the order they start in, and how many examples property tests try.

Few on each save, many with ``HYPOTHESIS_PROFILE=thorough``; they leave no files.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

settings.register_profile("quick", max_examples=30, deadline=None, database=None)
settings.register_profile("thorough", max_examples=1000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that no worker is left with it at the end; the rest stays in random order."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
