"""How long starts took, kept in the run directories, so that a wait can say what is usual.

A start is like an earlier one where all launch scripts are the same, so their digest is the key. What is usual is the
median of the last five: one start beside a cold disk cache or a busy neighbour says little.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median

FILE = "durations.json"
"""Of a run that has seen a whole start: ``{"cluster", "launch", "durations": {"head: loading weights": 210.4}}``."""

LAST = 5
"""Starts that count."""


def usual(base: Path, launch: str) -> dict[str, float]:
    """Seconds by ``process: phase`` that starts of the launch with this digest take as a rule; empty where ``base``,
    the folder of run directories, knows of none. A file that can't be read counts as none."""
    found: dict[str, list[float]] = {}
    starts = 0
    for path in sorted(base.glob(f"*/{FILE}"), reverse=True):
        durations = _of(path, launch)
        for name, seconds in durations.items():
            found.setdefault(name, []).append(seconds)
        starts += bool(durations)
        if starts == LAST:
            break
    return {name: median(seconds) for name, seconds in found.items()}


def _of(path: Path, launch: str) -> Mapping[str, float]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if path.parent.is_symlink() or kept["launch"] != launch:
            return {}
        return {str(name): float(seconds) for name, seconds in kept["durations"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
