"""Lines of logs: who said it, when, how loud, and the text.

vLLM's lines look like ``(EngineCore_DP0 pid=123) ERROR 11-24 06:03:01 [core.py:843] text``. What libraries, torch_npu,
CANN (plog and device logs), the kernel and syslog, Ray, Mooncake, MindIE and routers print looks otherwise, and
``docker logs --timestamps`` puts a UTC time before each. Logs of days are read while somebody waits, so what most lines
look like is tried first and each second's time is worked out once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ZONED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([.,]\d+)?(?:Z|([+-]\d\d):?(\d\d))\s")
"""The stamp of ``docker logs --timestamps``, of journalctl -o short-iso and of rsyslog: a time that bears its zone."""

_WHO = re.compile(r"\(([\w.:+-]+)(?: pid=\d+)?(?:, ip=[\d.]+)?\)\s?")
_HEAD = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+(\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)?\s+\[[^\]]*\]\s?")
_TIME = re.compile(
    r"(?<![\d.])(?:(?P<year>\d{4})[-/])?(?P<day>\d\d[-/]\d\d)[-T ](?P<clock>\d\d:\d\d:\d\d)"
    r"(?:[.,](?P<part>\d{1,9})(?:\.(?P<micro>\d{3}))?)?(?P<zone>Z|[+-]\d\d:?\d\d)?(?!\d)"
)
_NAMED = re.compile(
    r"\[?(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +"
    r"(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,9}))?(?: (?P<year>\d{4})\])?"
)
"""The times of syslog, which bear no year, and of ``dmesg -T``."""

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_REACH = 100
"""Characters in which a line's own time begins; one that stands further behind is quoted."""

_LEVEL = re.compile(r"\[?(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|EVENT|TRACE)\b\]?:?\s")
_STAMPED = re.compile(
    r"\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[+-]\d\d:?\d\d)?[\]\s:,-]*(?:\[[\w.-]+\]\s*){0,4}?\[?"
    r"(?:(debug|info|notice|warn(?:ing)?|error|crit(?:ical)?|alert|emerg|fatal)\b|([DIWEF]) \d)",
    re.IGNORECASE,
)
"""A level after the time: Python's logging, Ray (a word or a letter), vllm-router, nginx, MindIE (after its ids)."""

_GLOG = re.compile(r"([IWEF])(?P<year>\d{4})?(?P<month>\d\d)(?P<day>\d\d) (?P<clock>\d\d:\d\d:\d\d)\.(?P<part>\d+) ")
"""Mooncake's and torch's lines: a letter, the date, the time."""

_BY_LETTER = {"D": "DEBUG", "I": "INFO", "N": "INFO", "W": "WARNING", "E": "ERROR"}
_NAMES = {"FATAL": "CRITICAL", "WARN": "WARNING", "EVENT": "INFO", "TRACE": "DEBUG"}
CALM = ("INFO", "DEBUG")
"""Levels of lines that tell of no failure."""

_LEAP = 2024
"""Lines often bear no year, so all times are put into one (a leap year, which has every date)."""


class Line(NamedTuple):
    """``who``: the process inside the container (``EngineCore_DP0``), or "". ``at``: seconds within a year, or None;
    ``year`` where the line tells it, else 0. ``utc``: the time bore its zone, so it is UTC's; else it is local.
    ``timed``: the time is this line's own.

    ``level`` is "" where the line has none; ``text`` keeps its indentation, ``raw`` is the line without colours.
    A named tuple, since a frozen dataclass takes four times as long to make.
    """

    number: int
    raw: str
    text: str
    who: str = ""
    level: str = ""
    at: float | None = None
    year: int = 0
    utc: bool = False
    timed: bool = False


class _When(NamedTuple):
    at: float
    year: int
    utc: bool


def parse(log: str) -> Iterator[Line]:
    """The lines of a log. A line without a time has that of the line before it, else of the first that has one."""
    early: list[Line] = []
    last: _When | None = None
    for number, raw in enumerate(log.splitlines()):
        line, when = _line(number, raw, last)
        if when is None:
            early.append(line)
            continue
        if last is None:
            yield from (one._replace(at=when.at, year=when.year, utc=when.utc) for one in early)
            early = []
        last = when
        yield line
    yield from early


def shown_time(at: float | None) -> str:
    """``11-24 06:03:01`` of a line's time, or an empty string."""
    if at is None:
        return ""
    return (datetime(_LEAP, 1, 1) + timedelta(seconds=at)).strftime("%m-%d %H:%M:%S")


def inner_time(text: str) -> float | None:
    """Seconds within a year of the time that CANN wrote into a message (``EI0006: [PID: 1] 2025-10-11-11:32:29.335``):
    when it happened, where the line itself says when that was printed."""
    code = _CODED.search(text)
    when = _searched(text[code.end() :]) if code else None
    return when.at if when else None


_CODED = re.compile(r"\bE[A-Z]\d{4}: (?:\[PID: \d+\] )?(?=\d{4}-)")


def epoch(at: float, year: int) -> float:
    """Seconds since 1970 of a time within ``year``."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return _new_year(year) + at - (0 if leap or at < _MARCH else 86_400)


_MARCH = (31 + 29) * 86_400


@lru_cache(maxsize=64)
def _new_year(year: int) -> float:
    return datetime(year, 1, 1, tzinfo=UTC).timestamp()


def _line(number: int, raw: str, last: _When | None) -> tuple[Line, _When | None]:
    text = raw.rstrip() if "\x1b" not in raw else _ANSI.sub("", raw).rstrip()
    clean, own = text, None
    if text[10:11] == "T" and (zoned := _ZONED.match(text)):
        own, text = _zoned(zoned), text[zoned.end() :]
    who = _WHO.match(text) if text[:1] == "(" else None
    rest = text[who.end() :] if who else text
    head = _HEAD.match(rest)
    if head:
        level, body = head[1], rest[head.end() :]
        own = own or _when(head[2][:5], head[2][6:], "", head[3] or "")
    else:
        level, body, own = _level(rest), rest, own or _time(rest)
    when = own or last
    at, year, utc = when or (None, 0, False)
    return Line(number, clean, body, who[1] if who else "", level, at, year, utc, own is not None), when


def _level(text: str) -> str:
    match = _LEVEL.match(text.lstrip()[:12])
    if match:
        return _NAMES.get(match[1], match[1])
    first = text[:1]
    other = _STAMPED.match(text) if first == "[" or first.isdigit() else _GLOG.match(text)
    if other is None:
        return ""
    return _BY_LETTER.get((other[1] or other[2])[0].upper(), "CRITICAL")


def _time(text: str) -> _When | None:
    """The time of a line of any other form than vLLM's."""
    begin = text[:_REACH]
    if ":" not in begin:
        return None
    named = _NAMED.match(begin)
    if named:
        return _when(f"{_MONTHS.index(named['month']) + 1:02}-{int(named['day']):02}", *_rest(named))
    glog = _GLOG.match(begin)
    if glog:
        return _when(f"{glog['month']}-{glog['day']}", *_rest(glog))
    return _searched(begin)


def _searched(text: str) -> _When | None:
    match = _TIME.search(text)
    if not match:
        return None
    part = f".{match['part']}{match['micro'] or ''}" if match["part"] else ""
    when = _when(match["day"].replace("/", "-"), match["clock"], match["year"] or "", part)
    zone = match["zone"]
    if not when or not zone:
        return when
    return _When(when.at - _ahead(zone), when.year, True)


def _rest(match: re.Match[str]) -> tuple[str, str, str]:
    return match["clock"], match["year"] or "", f".{match['part']}" if match["part"] else ""


def _when(day: str, clock: str, year: str, part: str) -> _When | None:
    whole = _seconds(day, clock)
    if whole is None:
        return None
    return _When(whole + float(f"0{part}") if part else whole, int(year or 0), False)


def _zoned(match: re.Match[str]) -> _When | None:
    stamp, part, hours, minutes = match.groups()
    whole = _seconds(stamp[5:10], stamp[11:])
    if whole is None:
        return None
    at = whole + float(f"0.{part[1:]}") if part else whole
    return _When(at - _ahead(hours + minutes) if hours else at, int(stamp[:4]), True)


def _ahead(zone: str) -> float:
    """Seconds that a zone (``Z``, ``+08:00``, ``-0500``) is ahead of UTC."""
    if zone == "Z":
        return 0.0
    seconds = int(zone[1:3]) * 3600.0 + int(zone[-2:]) * 60.0
    return -seconds if zone[0] == "-" else seconds


@lru_cache(maxsize=8192)
def _seconds(day: str, clock: str) -> float | None:
    """Seconds within the year of ``11-24`` and ``06:03:01``; None where there is no such time."""
    try:
        moment = datetime.strptime(f"{_LEAP}-{day} {clock}", "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    return (moment - datetime(_LEAP, 1, 1)).total_seconds()
