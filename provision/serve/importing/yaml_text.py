"""Writes YAML that people read: comments, block mappings, and short values on their line.

Every text is written so that Ansible (YAML 1.1) and we (YAML 1.2) read the same, and so that neither takes it for a
template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from provision import yamlio

WIDTH = 118
_PLAIN = re.compile(r"[A-Za-z0-9_./$+][A-Za-z0-9_./${}:=+@%^~*-]*(?: [A-Za-z0-9_./$(][A-Za-z0-9_./$:=+@%()*-]*)*\Z")


@dataclass(frozen=True, slots=True)
class Comment:
    """A key of a block that is written as lines of comment."""

    text: str


@dataclass(frozen=True, slots=True)
class Flow:
    """A value that is written on the line of its key, wrapped where it is too long."""

    value: object


Block = Mapping["str | Comment", object]


def document(block: Block, *, head: Sequence[str] = ()) -> str:
    """A whole file, ``head`` being its first comment."""
    return "\n".join([*_comment(head, ""), *_lines(block, "")]) + "\n"


def _comment(lines: Sequence[str], indent: str) -> Iterator[str]:
    for line in lines:
        printable = "".join(char if char.isprintable() else " " for char in line)
        yield f"{indent}# {printable}".rstrip()


def _lines(block: Block, indent: str) -> Iterator[str]:
    for key, value in block.items():
        if isinstance(key, Comment):
            yield from _comment(key.text.splitlines(), indent)
            continue
        name = scalar(key)
        if isinstance(value, Flow):
            yield from _value(f"{indent}{name}:", value.value, indent + "  ")
        elif isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}:" + (f" {flow(value)}" if value is not None else "")


def _value(lead: str, value: object, indent: str) -> Iterator[str]:
    whole = f"{lead} {flow(value)}"
    if len(whole) <= WIDTH or not value:
        yield whole
    elif isinstance(value, Mapping):
        yield lead
        yield from _lines({str(key): Flow(each) for key, each in value.items()}, indent)
    elif isinstance(value, list | tuple):
        yield from _wrapped(lead, value, indent)
    else:
        yield whole


def _wrapped(lead: str, value: Sequence[object], indent: str) -> Iterator[str]:
    yield f"{lead} ["
    line = indent
    for item in value:
        word = flow(item) + ","
        if len(line) > len(indent) and len(line) + len(word) > WIDTH:
            yield line.rstrip()
            line = indent
        line += word + " "
    yield line.rstrip()
    yield f"{indent[:-2]}]"


def flow(value: object) -> str:
    """A value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(each) for each in value) + "]"
    return scalar(value)


def scalar(value: object) -> str:
    """A scalar that YAML 1.1 and 1.2 read as the same value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = repr(value)
        return text if "e" not in text or "." in text else text.replace("e", ".0e")
    return str(value) if isinstance(value, int) else _text(str(value))


def _text(text: str) -> str:
    if "{{" in text or "{%" in text or "{#" in text:
        return _quoted("{{ " + json.dumps(text) + " }}")
    return text if _is_plain(text) else _quoted(text)


def _is_plain(text: str) -> bool:
    if (
        text.split(" ")[0] == "..."
        or not _PLAIN.match(text)
        or ": " in text
        or text.endswith(":")
        or "{" in text
        or "}" in text
    ):
        return False
    node = yamlio.parse(text)
    return node.data == text and isinstance(node.data, str) and not node.ambiguous


def _quoted(text: str) -> str:
    """Between single quotes where that is enough, as JSON in them stays readable so."""
    if text.isprintable() and text == text.strip():
        return "'" + text.replace("'", "''") + "'" if '"' in text or "\\" in text else f'"{text}"'
    escaped = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escaped.get(c) or (c if c.isprintable() else _escape(c)) for c in text) + '"'


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\U{ord(char):08x}"
