"""Time, in one place: the only file that sleeps, so tests can replace it."""

from __future__ import annotations

import time
from threading import Event


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


def monotonic() -> float:
    """Seconds on a clock that never goes back: for durations."""
    return time.monotonic()


def sleep(seconds: float, stop: Event | None = None) -> bool:
    """Sleep, or less when ``stop`` is set meanwhile. True where it was."""
    if stop is None:
        time.sleep(seconds)
        return False
    return stop.wait(seconds)
