"""Quoting for POSIX sh, in one place: whoever puts a value into a script does it with these."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SAFE = re.compile(r"[A-Za-z0-9@%+:,./_-][A-Za-z0-9@%+=:,./_-]*\Z")


def quote(value: object) -> str:
    """``value`` as one word that sh takes literally. Raises ``ValueError`` for a NUL, which no word can hold.

    A leading ``=`` or an unquoted ``name=value`` in command position would mean something else; the first is quoted
    here, the second is up to the caller, as it is a valid argument everywhere else.
    """
    text = str(value)
    if "\0" in text:
        raise ValueError("a shell word cannot hold a NUL character")
    if _SAFE.match(text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def join(words: Iterable[object]) -> str:
    """``words`` as one command line."""
    return " ".join(quote(word) for word in words)


def assign(name: str, value: object) -> str:
    """``name=value`` as sh's assignment. Raises ``ValueError`` where ``name`` is no variable's name."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r} is no name of a shell variable")
    return f"{name}={quote(value)}"
