"""Time for the modules: it passes only by sleeping."""

from __future__ import annotations

import pytest

from provision import clock


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps so far; the monotonic clock is their sum."""
    sleeps: list[float] = []
    monkeypatch.setattr(clock, "sleep", sleeps.append)
    monkeypatch.setattr(clock, "monotonic", lambda: sum(sleeps))
    return sleeps
