"""The filters that templates and expressions may use: a fixed list, each as Ansible or Jinja means it.

A list that can't grow by accident keeps playbooks free of programming, and tells a typo from a missing plugin.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from provision import shell
from provision.errors import ConfigError

FROM_JINJA = (
    "abs",
    "default",
    "d",
    "dictsort",
    "first",
    "float",
    "format",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "count",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "string",
    "sum",
    "trim",
    "unique",
    "upper",
)

FROM_JINJA_TESTS = (
    "boolean",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "==",
    "false",
    "float",
    "ge",
    ">=",
    "gt",
    ">",
    "in",
    "integer",
    "iterable",
    "le",
    "<=",
    "lt",
    "<",
    "mapping",
    "ne",
    "!=",
    "none",
    "number",
    "sequence",
    "string",
    "true",
    "undefined",
)


class Raw(str):
    """A text that a shell template takes as it is, unquoted."""

    __slots__ = ()


def raw(value: object) -> Raw:
    """Leave this value unquoted in a shell template."""
    return Raw(value)


def to_bool(value: object) -> bool:
    """Ansible's ``bool``: yes, on, true, 1 and y in any case are true, all else is false."""
    if isinstance(value, str):
        return value.lower() in ("yes", "on", "true", "1", "y", "t")
    return value in (True, 1)


def to_json(value: object) -> str:
    """JSON on one line, keys in the given order."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def mandatory(value: Any, message: str = "") -> Any:
    """The value itself; a missing one is an error anyway, so this only words it."""
    if value is None:
        raise ConfigError(message or "a mandatory value is missing")
    return value


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


OWN: dict[str, Callable[..., object]] = {
    "basename": posixpath.basename,
    "bool": to_bool,
    "dirname": posixpath.dirname,
    "mandatory": mandatory,
    "quote": shell.quote,
    "raw": raw,
    "to_json": to_json,
}
