"""``--limit``: which hosts a pattern names, as Ansible's host patterns do.

Names, groups, globs, ``~regex``; joined by ``,`` (or ``:``), ``&`` for "and in", ``!`` for "but not in"; subscripts
of a match: ``[0]``, ``[-1]``, ``[0:2]``, ``[1:]``; ``@file`` for patterns from a file, one a line. [ansible-core:
inventory/manager.py]

Three things differ, on purpose: a part that matches nothing is an error, not a warning (Ansible goes on with the rest,
and a mistyped exclusion then excludes nobody); hosts come in inventory order, since ranks follow it; and a range of
hosts as the inventory writes it (``node[1:4]``) is one here too, since that is how runs name their nodes.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from provision.errors import UsageError
from provision.inventory.model import Host, Inventory
from provision.inventory.ranges import expand, is_address

_PIECE = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]\Z", re.DOTALL)
_GLOB = frozenset(".?*[")


def select(inventory: Inventory, pattern: str) -> tuple[Host, ...]:
    """The hosts that ``pattern`` names, in inventory order. Raises ``UsageError`` where it, or a part of it,
    names none.
    """
    parts = list(_parts(pattern))
    if not parts:  # an unset variable in a script, say: to take it for all hosts would be the worst reading
        raise UsageError(f"{pattern!r} names no host", hint="'all' names all hosts")
    names = _Matcher(inventory).names(parts)
    if not names:
        raise UsageError(f"{pattern!r} selects no host", hint=f"hosts: {_some(host.name for host in inventory.hosts)}")
    return tuple(host for host in inventory.hosts if host.name in names)


def _parts(pattern: str) -> Iterable[str]:
    for part in _split(pattern):
        if part.startswith("@"):
            yield from _from_file(part[1:])
        else:
            yield part


def _split(pattern: str) -> list[str]:
    if "," in pattern:
        pieces = pattern.split(",")
    elif is_address(pattern):
        pieces = [pattern]
    else:
        pieces = _PIECE.findall(pattern)
    return [piece.strip() for piece in pieces if piece.strip()]


def _from_file(name: str) -> list[str]:
    try:
        lines = Path(name).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"@{name}: {reason}", hint="@FILE names a file of host patterns, one a line") from None
    return [line.strip() for line in lines if line.strip()]


class _Matcher:
    """Matches patterns against one inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._groups = inventory.groups
        self._hosts = tuple(host.name for host in inventory.hosts)

    def names(self, parts: Sequence[str]) -> set[str]:
        """Unions first, then intersections, then exclusions, whatever their order; without a union, all hosts."""
        unions = [part for part in parts if part[0] not in "&!"]
        names: set[str] = set()
        for part in unions or ["all"]:
            names |= self._match(part)
        for part in parts:
            if part[0] == "&":
                names &= self._match(part[1:])
        for part in parts:
            if part[0] == "!":
                names -= self._match(part[1:])
        return names

    def _match(self, part: str) -> set[str]:
        if part in self._hosts:
            return {part}
        pattern, first, last = _subscript(part)
        found = self._matching(pattern)
        if not found:
            return self._range(part)
        chosen = found if first is None else found[first:last]
        if not chosen:
            raise UsageError(f"{part!r}: {pattern!r} has only {len(found)} hosts", hint="subscripts count from 0")
        return set(chosen)

    def _matching(self, pattern: str) -> list[str]:
        """Hosts of the groups that match, then hosts that match; Ansible's order, which subscripts count in."""
        expression = _expression(pattern)
        groups = [name for name in self._groups if expression.match(name)]
        found = {host: None for name in groups for host in self._groups[name]}
        if not groups or pattern[0] == "~" or _GLOB & set(pattern):
            found |= {host: None for host in self._hosts if expression.match(host)}
        return list(found)

    def _range(self, part: str) -> set[str]:
        """The hosts of a range such as ``node[1:4]``, all of which must be there."""
        try:
            names = set(expand(part)[0])
        except ValueError:
            names = {part}
        if not names <= set(self._hosts):
            raise self._nobody(part)
        return names

    def _nobody(self, part: str) -> UsageError:
        if part in self._groups:
            return UsageError(f"group {part!r} has no hosts")
        close = get_close_matches(part, [*self._hosts, *self._groups], 1)
        hint = f"did you mean {close[0]!r}?" if close else f"hosts: {_some(self._hosts)}"
        return UsageError(f"{part!r} is no host or group of this inventory", hint=hint)


def _subscript(part: str) -> tuple[str, int | None, int | None]:
    """A pattern and the slice of its matches; (pattern, None, None) without a subscript."""
    found = None if part.startswith("~") else _SUBSCRIPT.match(part)
    if not found:
        return part, None, None
    pattern, single, first, last = found.groups()
    if single is not None:
        index = int(single)
        return pattern, index, index + 1 or None
    return pattern, int(first), int(last) + 1 if last else None


def _expression(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern[1:] if pattern.startswith("~") else fnmatch.translate(pattern))
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from None


def _some(names: Iterable[str], shown: int = 8) -> str:
    every = list(names)
    return ", ".join(every[:shown]) + (f" and {len(every) - shown} more" if len(every) > shown else "")
