"""How rules say what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from provision.serve.layout import Layout
from provision.serve.plan import Violation

Rule = Callable[[Layout], Iterator[Violation]]


def fail(code: str, reason: str, source: str, remedy: str = "") -> Violation:
    """The layout cannot work. An empty remedy is filled with the layouts that would."""
    return Violation(code, "fail", reason, source, remedy)


def warn(code: str, reason: str, source: str, remedy: str) -> Violation:
    """The layout may work, and the operator should know."""
    return Violation(code, "warn", reason, source, remedy)
