"""Bytes and seconds as a person reads them, where progress, plans and summaries tell of them."""

from __future__ import annotations


def size_text(count: float) -> str:
    """Bytes, in decimal units."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} bytes"


def time_text(seconds: float) -> str:
    """How long something takes."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
