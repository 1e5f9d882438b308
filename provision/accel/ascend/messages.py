"""What Ascend's tools and libraries complain of, in any text: the output of a command that failed, a line of a log."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.accel.ascend.text import complaints

_REFUSED = re.compile(r"(/[\w./-]{1,200}): check uid or mode failed")


@dataclass(frozen=True, slots=True)
class Messages:
    """Each known complaint once, return codes with their meaning."""

    complaints: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def parse_messages(text: str) -> Messages:
    """Any text. Never raises."""
    refused = dict.fromkeys(f"{path}: its owner or mode is refused" for path in _REFUSED.findall(text))
    found = (*complaints(text), *refused)
    return Messages(found, () if found else ("no known complaint in the text",))
