"""YAML, read strictly: plain data in which every key and value knows its place.

Operators' files decide what happens to machines, so they are read by rules that hold no surprise:

* Only the scalars of YAML 1.2's core schema are special: ``true`` and ``false``, ``null`` and ``~``, decimal, ``0o``
  and ``0x`` integers, floats. ``no``, ``on``, ``22:22`` and ``2026-01-01`` are strings; ``0755`` is the number 755.
* A key given twice in a mapping is an error, not a silent loss of the first.
* One document a file, UTF-8. Anchors, aliases and merge keys (``<<``) work; what they may blow up to is bounded.

Ansible reads the same files by YAML 1.1. ``Node.ambiguous`` tells where the two disagree, so that whoever reads a file
that both tools read can say so.

Events of PyYAML's parser (libyaml's where it is built in) are made into ``Node`` trees here; PyYAML's own constructor
isn't used, because it drops the positions, the duplicates and the text as written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from provision.errors import ConfigError, Position

Key = str | int | float | bool | None
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_NODES = 500_000
"""Values that a document may hold once its aliases are followed: 512 hosts with 100 variables each are 100,000."""
_MAX_DEPTH = 100

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
_CORE = "tag:yaml.org,2002:"
_TAGS = {_CORE + kind: kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


@dataclass(frozen=True, slots=True)
class Node:
    """A value as written: plain ``data`` (dict, list, str, int, float, bool, None) and where it stands.

    ``children`` are the nodes of a mapping by key or of a sequence by index; ``keys`` the places of a mapping's keys.
    ``text`` is a plain (unquoted) scalar as written.
    """

    data: Any
    position: Position
    children: Mapping[Any, Node] = field(default_factory=dict)
    keys: Mapping[Any, Position] = field(default_factory=dict)
    text: str | None = None

    def find(self, path: Sequence[Key]) -> Node | None:
        """The node at ``path`` (keys and indexes), or None."""
        node: Node | None = self
        for step in path:
            node = node.children.get(step) if node else None
        return node

    def where(self, path: Sequence[Key] = (), *, key: bool = False) -> Position:
        """The place of the value at ``path`` (of its key with ``key``), or of the nearest that exists above it."""
        node, place = self, self.position
        for depth, step in enumerate(path):
            if step not in node.children:
                return place
            last = depth == len(path) - 1
            place = node.keys[step] if key and last and step in node.keys else node.children[step].position
            node = node.children[step]
        return place

    def error(self, message: str, path: Sequence[Key] = (), *, key: bool = False, hint: str = "") -> ConfigError:
        """The error to raise about what stands at ``path``."""
        return ConfigError(message, where=self.where(path, key=key), hint=hint)

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    @property
    def ambiguous(self) -> bool:
        """Whether Ansible (YAML 1.1) reads this plain scalar as another value."""
        return self.text is not None and _differs_in_yaml_1_1(self.text, self.data)


def load(path: Path | str) -> Node:
    """Read a file that must hold a mapping. Raises ``ConfigError`` for whatever is wrong with it."""
    return _mapping(parse(read_text(path), str(path)))


def loads(text: str, file: str = "<text>", *, forgiven: list[ConfigError] | None = None) -> Node:
    """Like ``load``, from a text. With ``forgiven``, a key or merge that is given twice is no error but put there: the
    last value counts, as PyYAML has it. For files that others wrote for a less strict reader."""
    return _mapping(parse(text, file, forgiven=forgiven))


def read_text(path: Path | str) -> str:
    """A UTF-8 file's text. Raises ``ConfigError`` where it can't be read or is something else."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = _place(str(path), error.object[: error.start].decode("utf-8", "replace"))
        raise ConfigError("this file is not UTF-8 text", where=where, hint="save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: {reason}", hint="is the path right, and may you read it?") from None


def parse(text: str, file: str = "<text>", *, forgiven: list[ConfigError] | None = None) -> Node:
    """Any YAML document as a ``Node``; an empty one is None. Raises ``ConfigError`` only."""
    try:
        return _Reader(text, file, forgiven).document()
    except yaml.YAMLError as error:
        raise _plain_error(error, text, file) from None
    except UnicodeEncodeError as error:
        raise ConfigError("a character here is not Unicode text", where=_place(file, text[: error.start])) from None


def _mapping(node: Node) -> Node:
    if isinstance(node.data, dict):
        return node
    if node.data is None:
        raise node.error("this file is empty", hint="it must hold a mapping: lines of the form key: value")
    raise node.error(f"this file must hold a mapping (key: value), not {describe(node.data)}")


def describe(value: object) -> str:
    """A value in plain words, for messages: ``the text 'no'``, ``the number 8``, ``a list``."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the number {value}" if isinstance(value, int | float) else f"the text {_short(str(value))!r}"


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


# ---- from parser events to nodes


class _Reader:
    """Makes one document's events into a tree."""

    def __init__(self, text: str, file: str, forgiven: list[ConfigError] | None = None) -> None:
        self._parser = _Loader(text)
        self._file = file
        self._forgiven = forgiven
        self._anchors: dict[str, Node | None] = {}
        self._sizes: dict[int, int] = {}
        self._nodes = 0
        self._depth = 0

    def document(self) -> Node:
        self._next()
        if self._parser.check_event(yaml.StreamEndEvent):
            return Node(None, Position(self._file, 1, 1))
        self._next()
        node = self._node(self._next())
        self._next()
        if not self._parser.check_event(yaml.StreamEndEvent):
            raise self._error("a second document begins here", self._next(), "one document a file: remove the ---")
        return node

    def _next(self) -> Any:
        return self._parser.get_event()

    def _at(self, event: Any) -> Position:
        return Position(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _error(self, message: str, event: Any, hint: str = "") -> ConfigError:
        return ConfigError(message, where=self._at(event), hint=hint)

    def _twice(self, error: ConfigError) -> None:
        if self._forgiven is None:
            raise error
        self._forgiven.append(error)

    def _node(self, event: Any) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.anchor:
            self._anchors[event.anchor] = None  # not complete yet: an alias to it from inside would never end
        before = self._nodes
        self._count(event, 1)
        node = self._collection(event) if isinstance(event, yaml.CollectionStartEvent) else self._scalar(event)
        if event.anchor:
            self._anchors[event.anchor] = node
            self._sizes[id(node)] = self._nodes - before
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise self._error(f"*{event.anchor} is not defined above", event, f"define it as &{event.anchor}")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._error(f"*{event.anchor} stands inside its own definition", event)
        self._count(event, self._sizes[id(node)])
        return node

    def _count(self, event: Any, more: int) -> None:
        self._nodes += more
        if self._nodes > _MAX_NODES:
            raise self._error(f"this file holds more than {_MAX_NODES} values once its aliases are followed", event)

    def _collection(self, event: Any) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"nested more than {_MAX_DEPTH} deep", event)
        self._tag(event, "map" if isinstance(event, yaml.MappingStartEvent) else "seq")
        node = self._map(event) if isinstance(event, yaml.MappingStartEvent) else self._list(event)
        self._depth -= 1
        return node

    def _list(self, event: Any) -> Node:
        items: list[Node] = []
        while not self._parser.check_event(yaml.SequenceEndEvent):
            items.append(self._node(self._next()))
        self._next()
        return Node([item.data for item in items], self._at(event), dict(enumerate(items)))

    def _map(self, event: Any) -> Node:
        merged = _Entries()
        own = _Entries()
        while not self._parser.check_event(yaml.MappingEndEvent):
            key_event = self._next()
            if _is_merge(key_event):
                self._merge(merged, key_event)
            else:
                self._entry(own, key_event)
        self._next()
        children, keys = merged.children | own.children, merged.keys | own.keys
        return Node({key: child.data for key, child in children.items()}, self._at(event), children, keys)

    def _entry(self, entries: _Entries, event: Any) -> None:
        if isinstance(event, yaml.CollectionStartEvent):
            raise self._error("a key must be a word, not a list or mapping", event, "quote a value that begins with {{")
        key = self._node(event).data
        if isinstance(key, dict | list):
            raise self._error("a key must be a word, not a list or mapping", event)
        if key in entries.children:
            message = f"{_short(str(key))!r} is given twice; first on line {entries.keys[key].line}"
            self._twice(self._error(message, event, f"first at {entries.keys[key]}; remove one of the two"))
        entries.keys[key] = self._at(event)
        entries.children[key] = self._node(self._next())

    def _merge(self, entries: _Entries, event: Any) -> None:
        if entries.merges:
            self._twice(self._error("'<<' is given twice", event, "merge several mappings with a list: <<: [*a, *b]"))
        entries.merges = True
        value = self._node(self._next())
        sources = [value] if isinstance(value.data, dict) else list(value.children.values())
        if not sources or not all(isinstance(source.data, dict) for source in sources):
            raise value.error("'<<' needs a mapping, or a list of mappings, to merge")
        for source in reversed(sources):
            entries.children |= source.children
            entries.keys |= source.keys

    def _scalar(self, event: Any) -> Node:
        kind = self._tag(event, "")
        plain = bool(event.implicit[0]) and not event.style
        if kind == "str" or not (plain or kind):
            return Node(event.value, self._at(event))
        try:
            data = resolve(event.value)
        except ValueError:
            raise self._error("this number is too long", event, "quote it if it is a text") from None
        if kind and _kind(data) != kind and not (kind == "float" and _kind(data) == "int"):
            raise self._error(f"{_short(event.value)!r} is no {kind}", event)
        return Node(data, self._at(event), text=event.value if plain else None)

    def _tag(self, event: Any, expected: str) -> str:
        if event.tag is None or event.tag == "!":
            return "str" if event.tag else ""
        kind = _TAGS.get(event.tag)
        if kind is None or bool(expected) != (kind in ("map", "seq")) or (expected and kind != expected):
            raise self._error(f"the tag {_written(event.tag)} is not supported", event, _tag_hint(event.tag))
        return kind


@dataclass(slots=True)
class _Entries:
    """A mapping that is being read."""

    children: dict[Any, Node] = field(default_factory=dict)
    keys: dict[Any, Position] = field(default_factory=dict)
    merges: bool = False


def _is_merge(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and bool(event.implicit[0]) and not event.style


def _written(tag: str) -> str:
    return "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag


def _tag_hint(tag: str) -> str:
    if tag == "!vault":
        return "Ansible's vault is not read here: reference the secret as {env: NAME}, {file: PATH} or {command: …}"
    return "plain YAML only: remove the tag"


# ---- scalars


def resolve(text: str) -> str | int | float | bool | None:
    """What a plain scalar means in YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.match(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.match(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _kind(value: object) -> str:
    names: dict[type, str] = {type(None): "null", bool: "bool", int: "int", float: "float"}
    return names.get(type(value), "str")


def _differs_in_yaml_1_1(text: str, value: object) -> bool:
    resolvers = yaml.resolver.Resolver.yaml_implicit_resolvers
    tag = next((tag for tag, form in resolvers.get(text[:1], ()) if form.match(text)), "tag:yaml.org,2002:str")
    try:
        other = yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(tag, text))
    except (yaml.YAMLError, ValueError):
        return True
    both_nan = other != other and value != value
    return type(other) is not type(value) or (other != value and not both_nan)


# ---- errors in plain words

_PROBLEMS = (
    ("tab character", "a tab is used for indentation", "YAML is indented with spaces only"),
    ("maximum nesting depth", f"nested more than {_MAX_DEPTH} deep", ""),  # libyaml's own bound, as it reads ahead
    (
        "mapping values are not allowed",
        "a ':' is not allowed here",
        "quote a value that holds ': ', or correct the indentation",
    ),
    ("could not find expected ':'", "a key without its ':'", "write key: value; quote a text that spans lines"),
    (
        "did not find expected key",
        "this line does not fit what stands above it",
        "correct the indentation, or quote the value",
    ),
    (
        "did not find expected '-'",
        "this line does not fit the list above it",
        "begin each item with '- ' in the same column",
    ),
    ("did not find expected ',' or ']'", "a '[' is not closed", "close the list with ']'"),
    (
        "did not find expected ',' or '}'",
        "a '{' is not closed",
        "close the mapping with '}'; quote a value that begins with {{",
    ),
    ("did not find expected node content", "a value is missing here", "close what was opened with '[' or '{'"),
    ("unexpected end of stream", "a quote is not closed", "close it with the same quote"),
    (
        "unknown escape character",
        "an unknown escape after '\\'",
        "in double quotes write \\\\ for a backslash, or use single quotes",
    ),
    ("incompatible YAML document", "this version of YAML is not supported", "remove the line that begins with %YAML"),
    ("expected <document start>", "something stands after the end of the document", "one document a file"),
)


def _plain_error(error: yaml.YAMLError, text: str, file: str) -> ConfigError:
    if isinstance(error, yaml.reader.ReaderError):
        return _reader_error(text, file)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
    problem = str(getattr(error, "problem", "") or error)
    if "cannot start any token" in problem:
        return _bad_start(text, where)
    for words, message, hint in _PROBLEMS:
        if words in problem:
            return ConfigError(message + _opened(error, where), where=where, hint=hint)
    return ConfigError(f"not valid YAML: {problem}" + _opened(error, where), where=where)


def _opened(error: yaml.YAMLError, where: Position) -> str:
    """Where the thing began that the parser couldn't finish, if that's another line."""
    mark = getattr(error, "context_mark", None)
    return f" (it begins on line {mark.line + 1})" if mark and mark.line + 1 != where.line else ""


def _bad_start(text: str, where: Position) -> ConfigError:
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    line = lines[where.line - 1] if where.line <= len(lines) else ""
    character = line[where.column - 1 : where.column]
    if character == "\t":
        return ConfigError("a tab is used for indentation", where=where, hint="YAML is indented with spaces only")
    return ConfigError(f"a value cannot begin with {character!r}", where=where, hint="quote the value")


_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _reader_error(text: str, file: str) -> ConfigError:
    found = _UNPRINTABLE.search(text)
    where = _place(file, text[: found.start()] if found else "")
    name = f"#x{ord(found.group()):04x}" if found else "?"
    return ConfigError(
        f"the control character {name} is not allowed",
        where=where,
        hint="remove it, or write it as \\xNN in double quotes",
    )


def _place(file: str, before: str) -> Position:
    """The position right after the text ``before``."""
    return Position(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
