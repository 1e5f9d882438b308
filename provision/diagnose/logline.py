"""Lines of a server's log: who said it, when, how loud, and the text.

vLLM's lines look like ``(EngineCore_DP0 pid=123) ERROR 11-24 06:03:01 [core.py:843] text``; what libraries, torch_npu,
CANN, Ray, Mooncake and routers print looks otherwise, and ``docker logs --timestamps`` puts a UTC time before each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DOCKER = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(?:Z|([+-])(\d\d):(\d\d))\s")
_WHO = re.compile(r"\(([\w.:+-]+)(?: pid=\d+)?(?:, ip=[\d.]+)?\)\s?")
_HEAD = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+(\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)?\s+\[[^\]]*\]\s?")
_TIMES = (
    re.compile(r"(?P<month>\d\d)-(?P<day>\d\d) (?P<clock>\d\d:\d\d:\d\d)(?P<part>[.,]\d+)?"),
    re.compile(r"\d{4}[-/](?P<month>\d\d)[-/](?P<day>\d\d)[-T ](?P<clock>\d\d:\d\d:\d\d)(?P<part>[.,]\d+)?"),
)
_LEVEL = re.compile(r"\[?(DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\b\]?:?\s")
_STAMPED = re.compile(
    r"\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?[\s:,-]*\[?"
    r"(?:(debug|info|notice|warn(?:ing)?|error|crit(?:ical)?|alert|emerg|fatal)\b|([DIWEF]) \d)",
    re.IGNORECASE,
)
"""A level after the time: Python's logging, Ray (a word or a letter), vllm-router, nginx."""

_GLOG = re.compile(r"([IWEF])\d{4}(?:\d{4})? \d\d:\d\d:\d\d\.\d+ ")
"""Mooncake's lines: a letter, the date, the time."""

_BY_LETTER = {"D": "DEBUG", "I": "INFO", "N": "INFO", "W": "WARNING", "E": "ERROR"}
CALM = ("INFO", "DEBUG")
"""Levels of lines that tell of no failure."""

_LEAP = 2024
"""Lines bear no year, so all times are put into one (a leap year, which has every date)."""


@dataclass(frozen=True, slots=True)
class Line:
    """``who``: the process inside the container (``EngineCore_DP0``), or "". ``at``: seconds within a year, or None.

    ``level`` is "" where the line has none; ``text`` keeps its indentation, ``raw`` is the line without colours.
    """

    number: int
    raw: str
    text: str
    who: str = ""
    level: str = ""
    at: float | None = None


def parse(log: str) -> Iterator[Line]:
    """The lines of a log. A line without a time has that of the line before it, else of the first that has one."""
    lines = [_line(number, raw) for number, raw in enumerate(log.splitlines())]
    at = next((line.at for line in lines if line.at is not None), None)
    for line in lines:
        at = line.at if line.at is not None else at
        yield Line(line.number, line.raw, line.text, line.who, line.level, at)


def shown_time(at: float | None) -> str:
    """``11-24 06:03:01`` of a line's time, or an empty string."""
    if at is None:
        return ""
    return (datetime(_LEAP, 1, 1) + timedelta(seconds=at)).strftime("%m-%d %H:%M:%S")


def _line(number: int, raw: str) -> Line:
    text = _ANSI.sub("", raw).rstrip()
    docker = _DOCKER.match(text)
    if docker:
        text = text[docker.end() :]
    who = _WHO.match(text)
    rest = text[who.end() :] if who else text
    head = _HEAD.match(rest)
    level = head[1] if head else _level(rest)
    at = _docker_time(docker) if docker else _time(head[2] if head else rest)
    return Line(number, text, rest[head.end() :] if head else rest, who[1] if who else "", level, at)


def _level(text: str) -> str:
    match = _LEVEL.match(text.lstrip())
    if match:
        return match[1].replace("FATAL", "CRITICAL")
    other = _STAMPED.match(text) or _GLOG.match(text)
    return _BY_LETTER.get((other[1] or other[2])[0].upper(), "CRITICAL") if other else ""


def _docker_time(match: re.Match[str]) -> float:
    at = _seconds(datetime.fromisoformat(match[1]).replace(year=_LEAP)) + float(f"0{match[2] or '.0'}")
    if match[3]:
        offset = int(match[4]) * 3600 + int(match[5]) * 60
        at -= offset if match[3] == "+" else -offset
    return at


def _time(text: str) -> float | None:
    match = next((found for pattern in _TIMES if (found := pattern.search(text[:160]))), None)
    if not match:
        return None
    try:
        moment = datetime.strptime(f"{_LEAP}-{match['month']}-{match['day']} {match['clock']}", "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    return _seconds(moment) + (float(f"0.{match['part'][1:]}") if match["part"] else 0.0)


def _seconds(moment: datetime) -> float:
    zero = datetime(_LEAP, 1, 1, tzinfo=UTC)
    return (moment.replace(tzinfo=UTC) - zero).total_seconds()
