"""What ``parse KIND FILE`` knows, and facts as plain data for ``facts --json``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provision.facts.base import Fact
from provision.inventory.model import Settings


@dataclass(frozen=True, slots=True)
class Kind:
    """A parser by name: ``parse`` never raises; ``to_json`` turns its value into plain data."""

    name: str
    description: str
    parse: Callable[[str], object]

    def to_json(self, value: object) -> object:
        """``value`` as dicts, lists, strings, numbers, booleans and None."""
        return as_data(value)


KINDS: dict[str, Kind] = {}


def as_data(value: object) -> object:
    """A dataclass (or any value inside one) as plain data for JSON."""
    raise NotImplementedError


def standard_facts(settings: Settings) -> list[Fact[object]]:
    """All facts that ``facts`` shows for a host."""
    raise NotImplementedError
