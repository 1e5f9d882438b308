"""Values of a playbook by kind: what is of another kind becomes an error, and reading goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from provision.errors import ConfigError
from provision.registry import did_you_mean
from provision.yamlio import Node, describe


@dataclass(slots=True)
class Reading:
    """Reads keys of mappings; ``errors`` gathers what was wrong. A key that is absent or wrong gives the default."""

    errors: list[ConfigError] = field(default_factory=list)

    def words_of(self, node: Node, words: frozenset[str], what: str) -> None:
        """Every key of ``node`` that is none of ``words`` is an error."""
        for key in node.children:
            if key not in words:
                hint = did_you_mean(str(key), words)
                self.errors.append(node.error(f"{what} has no word {str(key)!r}", [key], key=True, hint=hint))

    def text(self, node: Node, key: str) -> str:
        value: str = self._value(node, key, "a text", lambda data: isinstance(data, str), "")
        return value.strip()

    def flag(self, node: Node, key: str) -> bool:
        value: bool = self._value(node, key, "true or false", lambda data: isinstance(data, bool), False)
        return value

    def choice(self, node: Node, key: str, choices: tuple[str, ...], default: str) -> str:
        value: str = self._value(node, key, f"one of {', '.join(choices)}", lambda data: data in choices, default)
        return value

    def words(self, node: Node, key: str, *, commas: bool = False) -> tuple[str, ...]:
        """A list of texts, or one text; with ``commas`` that one may be several."""
        value: str | list[str] = self._value(node, key, "a text or a list of texts", _is_words, [])
        if isinstance(value, str):
            value = value.split(",") if commas else [value]
        return tuple(word.strip() for word in value)

    def number(
        self, node: Node, key: str, default: float | None, *, least: float = 0, most: float = math.inf
    ) -> float | None:
        what = f"a number from {least:g}" + (f" to {most:g}" if most < math.inf else "")
        value: float | None = self._value(
            node, key, what, lambda data: _is_number(data) and least <= data <= most, default
        )
        return value

    def count(self, node: Node, key: str, default: int) -> int:
        value: int = self._value(node, key, "a whole number from 0", lambda data: is_whole(data) and data >= 0, default)
        return value

    def list(self, node: Node, key: str) -> list[Node]:
        """The items of a list; an absent one is empty."""
        if node.data.get(key) is None:
            return []
        self._value(node, key, "a list", lambda data: isinstance(data, list), [])
        child = node.children[key]
        return [*child.children.values()] if isinstance(child.data, list) else []

    def mapping(self, node: Node, key: str) -> dict[str, Node]:
        """The values of a mapping by name; an absent one is empty."""
        if node.data.get(key) is None:
            return {}
        self._value(node, key, "a mapping", lambda data: isinstance(data, dict), {})
        child = node.children[key]
        return {str(name): value for name, value in child.children.items()} if isinstance(child.data, dict) else {}

    def _value(self, node: Node, key: str, what: str, good: Callable[[Any], bool], default: Any) -> Any:
        child = node.children.get(key)
        if child is None:
            return default
        if good(child.data):
            return child.data
        self.errors.append(child.error(f"{key} is {what}, not {describe(child.data)}"))
        return default


def is_whole(data: object) -> bool:
    """Whether it is a whole number, and not true or false."""
    return isinstance(data, int) and not isinstance(data, bool)


def _is_number(data: object) -> bool:
    return isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data)


def _is_words(data: object) -> bool:
    return isinstance(data, str) or (isinstance(data, list) and all(isinstance(part, str) for part in data))
