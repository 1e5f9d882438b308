"""Host names as an inventory writes them: ``node[01:16]``, ``rack[a:c]-[1:8:2]``, ``name:port``, ``[2001:db8::1]:22``.

The rules are Ansible's (plugins/inventory/__init__.py, parsing/utils/addresses.py), word for word where they are odd:
bounds are inclusive, a begin with a leading zero sets the width, letters count in the order a-z A-Z.
"""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Sequence

_BRACKETED_PORT = re.compile(r"\[(.+)\]:([0-9]+)\Z")
_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)\Z")
_ANY_RANGE = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]"
_LABEL = rf"(?:\w|{_ANY_RANGE})(?:[\w-]|{_ANY_RANGE})*(?<![_-])"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z", re.IGNORECASE)
_HEX_RANGE = re.compile(r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]", re.IGNORECASE)
_RANGE = re.compile(r"([^\[\]]*)\[([^\[\]]*)\](.*)\Z", re.DOTALL)
_MAX_HOSTS = 100_000


def expand(pattern: str) -> tuple[list[str], int | None]:
    """The host names that ``pattern`` stands for, in order, and its port. Raises ``ValueError`` saying what is
    wrong.
    """
    name, port = _split_port(pattern)
    if "[" not in name:
        return [name], port
    names = list(_expand(name))
    return names, port


def _split_port(pattern: str) -> tuple[str, int | None]:
    """As Ansible: what isn't a host and a port is taken whole as a name (an IPv6 address without brackets, say)."""
    found = _BRACKETED_PORT.match(pattern) or _PORT.match(pattern)
    if found and _is_host(found[1]):
        return found[1], int(found[2])
    return pattern, None


def is_address(pattern: str) -> bool:
    """Whether Ansible sees one host (or range of hosts), with or without a port, rather than a list separated by
    ``:``.
    """
    return _is_host(_split_port(pattern)[0])


def _is_host(text: str) -> bool:
    return bool(_NAME.match(text)) or is_ip_address(_HEX_RANGE.sub("1", text))


def is_ip_address(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address rather than a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _expand(pattern: str) -> list[str]:
    found = _RANGE.match(pattern)
    if not found:
        raise ValueError("brackets must come in pairs, as in node[1:4]")
    head, bounds, tail = found.groups()
    tails = _expand(tail) if "[" in tail else [tail]
    values = _range(bounds.split(":"))
    if len(values) * len(tails) > _MAX_HOSTS:
        raise ValueError(f"more than {_MAX_HOSTS} hosts")
    return [f"{head}{value}{rest}" for value in values for rest in tails]


def _range(bounds: list[str]) -> Sequence[str]:
    if len(bounds) not in (2, 3):
        raise ValueError("a range is written [begin:end] or [begin:end:step]")
    begin, end = bounds[0] or "0", bounds[1]
    if not end:
        raise ValueError("the range has no end: write [begin:end]")
    step = _number(bounds[2]) if len(bounds) == 3 else 1
    if step < 1:
        raise ValueError("the step of a range must be at least 1")
    if begin in string.ascii_letters and end in string.ascii_letters:
        return _letters(begin, end, step)
    return _numbers(begin, end, step)


def _letters(begin: str, end: str, step: int) -> str:
    first, last = string.ascii_letters.index(begin), string.ascii_letters.index(end)
    if first > last:
        raise ValueError("a range must begin before it ends")
    return string.ascii_letters[first : last + 1 : step]


def _numbers(begin: str, end: str, step: int) -> list[str]:
    width = len(begin) if begin[0] == "0" and len(begin) > 1 else 0
    if width and width != len(end):
        raise ValueError(f"with a leading zero both ends must be equally long: [{begin}:{end.zfill(width)}]")
    first, last = _number(begin), _number(end)
    if first > last:
        raise ValueError("a range must begin before it ends")
    if (last - first) // step >= _MAX_HOSTS:
        raise ValueError(f"more than {_MAX_HOSTS} hosts")
    return [str(number).zfill(width) for number in range(first, last + 1, step)]


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,12}", text):
        raise ValueError(f"{text!r} is no number: a range is written [1:16] or [a:c]")
    return int(text)
