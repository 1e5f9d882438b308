"""The part of Go's text/template that people write after ``--format``: fields, json, index, len, join, println, if, range.

An unknown field is an error as in Go, with docker's own words, so a format that fails here would fail there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from provision.rehearsal.standins.docker.errors import DockerError

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)|\|\s*|[^\s"()|]+')


def render(template: str, value: object) -> str:
    """``template`` applied to ``value`` (what JSON can hold)."""
    pieces = _ACTION.split(template.replace("\\t", "\t").replace("\\n", "\n"))
    text, at = _block(pieces, 0, value, value)
    if at < len(pieces):
        raise DockerError(f"template parsing error: template: :1: unexpected {{{{{pieces[at]}}}}}", 64)
    return text


def _block(pieces: list[str], at: int, dot: object, top: object) -> tuple[str, int]:
    """Render from piece ``at`` (text, action, text, …) to the ``end`` or ``else`` that closes this block."""
    out = [pieces[at]]
    at += 1
    while at < len(pieces):
        action = pieces[at]
        if action in ("end", "else"):
            return "".join(out), at
        if action.startswith(("range ", "if ")):
            text, at = _nested(pieces, at, dot, top)
        else:
            text = _show(_pipeline(action, dot, top))
        out += [text, pieces[at + 1]]
        at += 2
    return "".join(out), at


def _nested(pieces: list[str], at: int, dot: object, top: object) -> tuple[str, int]:
    """An if or range with its optional else; returns the place of its end."""
    keyword, _, expression = pieces[at].partition(" ")
    subject = _pipeline(expression, dot, top)
    items = (list(subject.values()) if isinstance(subject, dict) else subject) if keyword == "range" else None
    dots = items if isinstance(items, list) else [dot] if keyword == "if" and subject else []
    texts = [_block(pieces, at + 1, item, top)[0] for item in dots]
    end = _block(pieces, at + 1, None, None)[1] if not dots else _block(pieces, at + 1, dots[0], top)[1]
    otherwise = ""
    if end < len(pieces) and pieces[end] == "else":
        otherwise, end = _block(pieces, end + 1, dot if not dots else None, top)
    return ("".join(texts) if dots else otherwise), end


def _pipeline(expression: str, dot: object, top: object) -> object:
    """``a b | c``: the result of each command is the last argument of the next."""
    value: object = None
    for number, command in enumerate(re.split(r"\s*\|\s*(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", expression)):
        words = _WORD.findall(command)
        arguments = [_operand(word, dot, top) for word in words[1:]] + ([value] if number else [])
        value = _call(words[0], arguments, dot, top)
    return value


def _call(word: str, arguments: list[object], dot: object, top: object) -> object:
    functions: dict[str, Callable[..., object]] = {"json": _json, "index": _index, "len": _len, "join": _join, "println": _println, "print": _print,
                 "printf": _printf, "lower": _lower, "upper": _upper, "split": _split, "eq": _eq, "ne": _ne,
                 "not": _not, "or": _or, "and": _and}  # fmt: skip
    if word == ".Label" and arguments:
        return _label(dot, str(arguments[0]))
    if word not in functions:
        return _operand(word, dot, top)
    return functions[word](*arguments)


def _operand(word: str, dot: object, top: object) -> object:
    if word.startswith("("):
        return _pipeline(word[1:-1], dot, top)
    if word.startswith('"'):
        return json.loads(word)
    if word.lstrip("-").isdigit():
        return int(word)
    if word in ("true", "false"):
        return word == "true"
    if word.startswith("$"):
        return _field(top, word[1:])
    if word.startswith("."):
        return _field(dot, word)
    raise DockerError(f'template parsing error: template: :1: function "{word}" not defined', 64)


def _field(value: object, path: str) -> object:
    for name in filter(None, path.split(".")):
        if value is None and path:
            return None
        if not isinstance(value, dict) or name not in value:
            raise DockerError(
                f'template parsing error: template: :1:2: executing "" at <{path}>: map has no entry for key "{name}"'
            )
        value = value[name]
    return value


def _label(dot: object, name: str) -> object:
    labels = dot.get("Labels", "") if isinstance(dot, dict) else ""
    pairs = (pair.partition("=") for pair in str(labels).split(","))
    return next((value for key, _, value in pairs if key == name), "")


def _json(value: object) -> object:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(str(key), "")
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise DockerError(f"template parsing error: error calling index: index out of range: {key}")
    return value


def _len(value: object) -> object:
    return len(value) if isinstance(value, list | dict | str) else 0


def _join(value: object, separator: object = "") -> object:
    return str(separator).join(str(item) for item in value) if isinstance(value, list) else ""


def _split(value: object, separator: object) -> object:
    return str(value).split(str(separator))


def _println(*values: object) -> object:
    return " ".join(_show(value) for value in values) + "\n"


def _print(*values: object) -> object:
    return "".join(_show(value) for value in values)


def _printf(pattern: object, *values: object) -> object:
    return str(pattern).replace("%v", "%s") % tuple(_show(value) for value in values)


def _lower(value: object) -> object:
    return str(value).lower()


def _upper(value: object) -> object:
    return str(value).upper()


def _eq(value: object, *others: object) -> object:
    return any(value == other for other in others)


def _ne(value: object, other: object) -> object:
    return value != other


def _not(value: object) -> object:
    return not value


def _or(*values: object) -> object:
    return next((value for value in values if value), values[-1])


def _and(*values: object) -> object:
    return next((value for value in values if not value), values[-1])


def _show(value: object) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_show(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_show(item) for item in value) + "]"
    return str(value)
