"""Texts of nodes in documents of others: what XML and HTML may not hold is taken out."""

from __future__ import annotations

import re

_UNFIT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def printable(text: str) -> str:
    """``text`` without terminal colours, control characters, lone surrogates and non-characters [XML 1.0, 2.2]."""
    return _UNFIT.sub("", _COLOUR.sub("", text))
