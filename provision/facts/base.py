"""A fact is a command plus a pure parser.

A fact is a frozen dataclass; its fields are its parameters (a path, a list of ports), so equal facts are one probe.
All facts that a play asks for travel to a node in one framed script.
"""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from provision.results import Result

T_co = TypeVar("T_co", covariant=True)


class Fact(Generic[T_co]):
    """Base of all facts. Subclasses are ``@dataclass(frozen=True, slots=True)``, live in one file a subject."""

    name: ClassVar[str]
    """Stable name, shown by ``facts --json`` and used in ``affects``."""

    deadline: ClassVar[float] = 10.0
    """Seconds that the probe may take on the node before it is ended there."""

    def script(self) -> str:
        """A POSIX-sh script (coreutils only) that looks and changes nothing. Runs as root with ``LC_ALL=C``."""
        raise NotImplementedError

    def parse(self, raw: Result) -> T_co:
        """The value. Pure; never raises on any bytes: what could not be read is part of the value."""
        raise NotImplementedError
