"""The variables of one host, templated when they are looked at: Ansible's laziness.

``ansible_host: "10.0.0.{{ index }}"`` may stand in a group's vars while ``index`` is the host's own. A value is
evaluated each time it is read, against all variables of the host; values inside mappings and lists likewise. What an
evaluation gives is not evaluated again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.errors import ConfigError, Position
from provision.yamlio import Node


class HostScope(Mapping[str, Any]):
    """``scope[name]`` is the value of a variable; ``node(name)`` says where it was written. Raises ``ConfigError``."""

    def __init__(self, variables: Mapping[str, Node], magic: Mapping[str, Any]) -> None:
        self._variables = variables
        self._magic = magic
        self._local = threading.local()

    def __getitem__(self, name: str) -> Any:
        if name in self._magic:
            return self._magic[name]
        return self.value(self._variables[name])

    def __contains__(self, name: object) -> bool:
        return name in self._magic or name in self._variables

    def __iter__(self) -> Iterator[str]:
        return iter({**self._variables, **self._magic})

    def __len__(self) -> int:
        return len({**self._variables, **self._magic})

    def without(self, names: Collection[str]) -> HostScope:
        """The same variables without some: evaluating the others still sees these."""
        return _Narrowed(self, names)

    def node(self, name: str) -> Node | None:
        """A variable as written."""
        return self._variables.get(name)

    def value(self, node: Node) -> Any:
        """What ``node`` means for this host; mappings and lists stay lazy."""
        if isinstance(node.data, dict):
            return LazyMapping(self, node)
        if isinstance(node.data, list):
            return LazyList(self, node)
        return self.text(node.data, node.position) if is_template(node.data) else node.data

    def text(self, text: str, where: Position) -> Any:
        """Evaluate a text."""
        from provision.template.expression import evaluate  # jinja2 only where a template is

        active: set[str] = self._local.__dict__.setdefault("active", set())
        if text in active:
            raise ConfigError(f"{text!r} refers to itself", where=where)
        active.add(text)
        try:
            return evaluate(text, self, where=where)
        finally:
            active.discard(text)

    def plain(self, node: Node) -> Any:
        """``node`` as plain data, everything in it evaluated."""
        if isinstance(node.data, dict):
            return {key: self.plain(child) for key, child in node.children.items()}
        if isinstance(node.data, list):
            return [self.plain(child) for child in node.children.values()]
        return unlazy(self.value(node))


class _Narrowed(HostScope):
    """A view of a scope that hides some names from its reader."""

    def __init__(self, whole: HostScope, hidden: Collection[str]) -> None:
        shown = {name: node for name, node in whole._variables.items() if name not in hidden}
        super().__init__(shown, {name: value for name, value in whole._magic.items() if name not in hidden})
        self._whole = whole

    def value(self, node: Node) -> Any:
        return self._whole.value(node)


class HostVars(Mapping[str, Any]):
    """Ansible's ``hostvars``: the variables of any host, by its name."""

    def __init__(self, names: Collection[str], scope_of: Callable[[str], HostScope]) -> None:
        self._names = names
        self._scope_of = scope_of

    def __getitem__(self, name: str) -> HostScope:
        if name not in self._names:
            raise KeyError(name)
        return self._scope_of(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class LazyMapping(Mapping[Any, Any]):
    """A mapping among a host's variables."""

    def __init__(self, scope: HostScope, node: Node) -> None:
        self._scope = scope
        self._node = node

    def __getitem__(self, key: Any) -> Any:
        return self._scope.value(self._node.children[key])

    def __iter__(self) -> Iterator[Any]:
        return iter(self._node.children)

    def __len__(self) -> int:
        return len(self._node.children)

    def __repr__(self) -> str:
        return repr(self._scope.plain(self._node))


class LazyList(Sequence[Any]):
    """A list among a host's variables."""

    def __init__(self, scope: HostScope, node: Node) -> None:
        self._scope = scope
        self._items = list(node.children.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._scope.value(item) for item in self._items[index]]
        return self._scope.value(self._items[index])

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and not isinstance(other, str) and list(self) == list(other)

    # Compared by content, so it has no hash; that None says so is Python's rule, which the checker takes for a mistake.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(unlazy(self))


def unlazy(value: Any) -> Any:
    """Plain data."""
    if isinstance(value, Mapping):
        return {key: unlazy(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [unlazy(item) for item in value]
    return value


def is_template(value: object) -> bool:
    """Whether Ansible would evaluate this text. (Told without importing jinja2, which costs 30 ms.)"""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


class Lookup:
    """Ansible's ``lookup('env', NAME)`` and ``lookup('file', PATH)``: secrets that both tools can read."""

    callable_in_templates = True

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        self._env = env
        self._folder = folder

    def __call__(self, kind: str, name: str, **options: Any) -> str:
        kinds: dict[str, Callable[[str, Any], str]] = {"env": self._from_env, "file": self._from_file}
        known = kinds.get(str(kind).removeprefix("ansible.builtin."))
        if known is None or set(options) - {"default"}:
            raise ConfigError(
                f"lookup({kind!r}, …) is not known here", hint="known: lookup('env', NAME), lookup('file', PATH)"
            )
        return known(str(name), options.get("default", ""))

    def _from_env(self, name: str, default: Any) -> str:
        return str(self._env.get(name) or default)

    def _from_file(self, name: str, default: Any) -> str:
        try:
            return (self._folder / os.path.expanduser(name)).read_text(encoding="utf-8").rstrip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"lookup('file', {name!r}): {error}") from error
