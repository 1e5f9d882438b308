"""Times as operators write them: ``10m`` ago, an hour of today, a date and time here or in a named zone."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EXAMPLES = "10m, 1h30m, 08:30, 2026-01-31T08:00:00Z, 2026-01-31T08:00:00+08:00 or '2026-01-31 08:00 Asia/Shanghai'"

_AGO = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|d)")
_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_EPOCH = re.compile(r"\d{10}(?:\.\d+)?")
_TIME = re.compile(
    r"(?:(?P<date>\d{4}-\d\d-\d\d)[T ]?)?(?P<time>\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"
    r"\s*(?P<zone>Z|[+-]\d\d:\d\d|[A-Za-z][\w/+-]*)?"
)


def moment(text: str, now: float) -> float:
    """Seconds since the epoch; a time without a zone is by this machine's. Raises ``ValueError``."""
    if _EPOCH.fullmatch(text):
        return float(text)
    if _AGO.fullmatch(text):
        return now - sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    found = _TIME.fullmatch(text)
    if not found or not (found["date"] or found["time"]):
        raise ValueError(f"'{text}' is not like {EXAMPLES}")
    zone = _zone(found["zone"] or "")
    date = found["date"] or datetime.fromtimestamp(now, zone).date().isoformat()
    try:
        at = datetime.fromisoformat(f"{date}T{found['time'] or '00:00'}")
    except ValueError as error:
        raise ValueError(f"'{text}': {error}") from None
    return (at if zone is None else at.replace(tzinfo=zone)).timestamp()


def _zone(name: str) -> tzinfo | None:
    """None: this machine's."""
    if not name:
        return None
    if name == "Z" or name[0] in "+-":
        return datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone '{name}': Asia/Shanghai, UTC, +08:00") from None
