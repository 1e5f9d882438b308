"""From merged ``qnext`` data to ``Settings``: errors in plain words, each at the place where the value was written.

pydantic judges; its error codes are translated here. Values are read strictly (``"8"`` is no number), and every error
of the data is reported, not only the first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from provision.errors import ConfigError
from provision.inventory.model import Settings
from provision.registry import did_you_mean
from provision.secrets import Secret
from provision.yamlio import Node, describe

Path = tuple[Any, ...]

PATTERN_WORDS = {
    r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$": "1 to 40 lower-case letters, digits and dashes, no dash at either end",
    r"^\d+[kmg]$": "a size such as 16g, 512m",
    r"^/": "an absolute path (beginning with /)",
    r"^/|^[A-Za-z0-9][\w.-]*/[\w.-]+$": "an absolute path (beginning with /), or a repository (organisation/name)",
    r"^\S+$": "a text without spaces",
    r"^\S*$": "a text without spaces",
    r"^\S": "a path",
    r"^(\[[0-9a-fA-F:]+\]|[^\s/:@]+)(:\d+)?/[^\s:@]+$": "registry/path, without https:// and tag",
    r"^https?://\S+$": "a URL (beginning with https:// or http://)",
    r"^sha256:[0-9a-f]{64}$": "sha256: and 64 hex digits",
    r"^[0-9a-f]{64}$": "a SHA-256 checksum: 64 hex digits",
    r"^[A-Za-z0-9][\w.-]*/[\w.-]+$": "a repository (organisation/name)",
    r"^[^\s/]{1,15}$": "the name of a network interface, such as eth0",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "a name of letters, digits and underscores",
    r"^[0-9]+(\.[0-9A-Za-z]+)*$": "a version such as 25.5.1 or 8.3.RC2",
    r"^(main|v?[0-9]+(\.[0-9]+){1,3}((rc|\.post)[0-9]+)?)$": "a release of vllm-ascend, such as v0.18.0",
    r"^[<>=!~]=?[0-9.]+(,[<>=!~]=?[0-9.]+)*$": "a range of versions such as >=3.10,<3.12",
}
"""What each pattern in the models asks for; a test holds this complete."""


def settings(data: dict[Any, Any], node: Node) -> tuple[Settings | None, list[ConfigError]]:
    """Validate ``data`` (evaluated); ``node`` is what it was made from and knows the places."""
    try:
        return Settings.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as error:
        return None, list(_errors(error, data, node))
    except (TypeError, ValueError) as error:
        return None, [node.error(f"qnext: {error}")]


def _errors(error: ValidationError, data: dict[Any, Any], node: Node) -> Iterator[ConfigError]:
    """One error a place: the branches of a union report the same place several times."""
    seen: dict[Path, list[dict[str, Any]]] = {}
    for detail in error.errors(include_url=False):
        path = _data_path(detail["loc"], data, missing=detail["type"] in ("missing", "extra_forbidden"))
        seen.setdefault(path, []).append(dict(detail))
    for path, details in seen.items():
        yield _translate(path, details, data, node)


def _data_path(loc: Sequence[Any], data: Any, *, missing: bool) -> Path:
    """``loc`` as far as the data goes: pydantic appends the names of union branches."""
    path: list[Any] = []
    for step in loc:
        key = _key(data, step)
        if key is None:
            return (*path, step) if missing else tuple(path)
        path.append(key[0])
        data = data[key[0]]
    return tuple(path)


def _key(data: Any, step: Any) -> tuple[Any] | None:
    """The key of ``data`` that ``step`` names, in a tuple. (JSON has made texts of the keys.)"""
    if isinstance(data, dict):
        return next(((key,) for key in data if key == step or _json_key(key) == step), None)
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return (step,)
    return None


def _json_key(key: object) -> str:
    return key if isinstance(key, str) else json.dumps(key)


def _translate(path: Path, details: list[dict[str, Any]], data: Any, node: Node) -> ConfigError:
    name = "qnext" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    kinds = {detail["type"] for detail in details}
    if "extra_forbidden" in kinds:
        return _unknown_key(name, path, node)
    if "missing" in kinds:
        above = node.where(path[:-1], key=True)
        return ConfigError(f"{name} is missing", where=above, hint=_describe_field(path))
    of_key = any(detail["loc"][-1:] == ("[key]",) for detail in details)
    value = path[-1] if of_key else _at(data, path)
    together = [detail for detail in details if detail["type"] == "value_error" and fields_at(path)]
    if together:  # what several keys say does not fit; the message names them
        return node.error(f"{name}: {together[0]['ctx']['error']}", path, hint=_meaning(path))
    found = "this" if _is_secret(path) else describe(value)
    message = f"{name}: expected {_alternatives(map(_expected, details))}, not {found}"
    return node.error(message, path, key=of_key, hint=_value_hint(value, details) or _meaning(path))


def _is_secret(path: Path) -> bool:
    """A wrong secret is still a secret: a key written without quotes, say, which YAML takes for a number."""
    field = next(
        (fields_at(path[:end]).get(path[end]) for end in range(len(path) - 1, -1, -1) if fields_at(path[:end])), None
    )
    return field is not None and Secret in get_args(field.annotation)


def _alternatives(words: Iterable[str]) -> str:
    *others, last = dict.fromkeys(words)
    return f"{', '.join(others)} or {last}" if others else last


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _unknown_key(name: str, path: Path, node: Node) -> ConfigError:
    hint = did_you_mean(str(path[-1]), fields_at(path[:-1]))
    return node.error(f"{name}: unknown key", path, key=True, hint=hint)


def fields_at(path: Path) -> dict[str, Any]:
    """Fields of the model at ``path`` below ``qnext``, by name; empty where no model stands there."""
    annotation: Any = Settings
    for step in path:
        model = _model(annotation)
        annotation = _value_at(model, step) if model else _model(*get_args(annotation))
    model = _model(annotation)
    return dict(model.model_fields) if model else {}


def _value_at(model: type[BaseModel], step: Any) -> Any:
    return model.model_fields[step].annotation if step in model.model_fields else None


def _model(*annotations: Any) -> type[BaseModel] | None:
    """The model among these: one itself, an optional one, or the last of a mapping's or a list's arguments."""
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
    optional = [a for each in annotations if isinstance(each, UnionType) for a in get_args(each)]
    return _model(*optional) if optional else None


def _describe_field(path: Path) -> str:
    return _meaning(path) or f"add {path[-1]}:"


def _meaning(path: Path) -> str:
    """What the key at ``path`` is for; empty where it is none of ours."""
    field = fields_at(path[:-1]).get(path[-1]) if path else None
    return f"{path[-1]}: {field.description}" if field is not None and field.description else ""


_PLAIN_TYPES = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "nothing",
    "finite_number": "a finite number",
    "too_short": "at least one item",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def _expected(detail: dict[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _PLAIN_TYPES:
        return _PLAIN_TYPES[kind]
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]}"
    if kind == "literal_error":
        return _alternatives(_choices(context))
    if kind == "string_pattern_mismatch":
        return PATTERN_WORDS.get(context["pattern"], f"a text of the form {context['pattern']}")
    if kind.startswith("date_"):
        return "a date such as 2026-12-31"
    if kind == "string_too_short":
        return f"a text of {context['min_length']} or more characters"
    return str(context.get("error") or detail["msg"])


def _choices(context: dict[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", context.get("expected", ""))


def _value_hint(value: object, details: list[dict[str, Any]]) -> str:
    kinds = {detail["type"] for detail in details}
    if isinstance(value, str) and "literal_error" in kinds:
        choices = [choice for detail in details for choice in _choices(detail.get("ctx", {}))]
        close = get_close_matches(value, choices, 1)
        return f"did you mean {close[0]!r}?" if close else ""
    if isinstance(value, str) and "bool_type" in kinds:
        return "write true or false, without quotes"
    if isinstance(value, str) and kinds & {"int_type", "float_type"} and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return "remove the quotes"
    if (
        isinstance(value, int | float)
        and "string_type" in kinds
        and not (isinstance(value, float) and math.isnan(value))
    ):
        return f'put it in quotes: "{value}"'
    return ""
