"""Settings laid over settings: what both the rehearsal and the real tier do to write an inventory."""

from __future__ import annotations

from collections.abc import Mapping


def merged(base: Mapping[str, object], over: Mapping[str, object]) -> dict[str, object]:
    """Merge deeply, ``over`` winning; a None in it removes the key."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(old, Mapping) and isinstance(value, Mapping):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result
