"""YAML as others may see it: structure, names and comments as written, values of secrets masked.

Only the texts of scalars are replaced, at the places where the parser says that they stand. A mask that would begin a
plain scalar is quoted, because ``*`` there means an alias.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from provision import redaction
from provision.redaction import MASK
from provision.secrets import redact

_QUOTED = f'"{MASK}"'
_REFERENCES = frozenset({"env", "file", "command"})
_ALL_BELOW = frozenset({"secret_env"})
"""Keys below which every value is a secret, whatever its name."""

Edit = tuple[int, int, str]


def redacted_yaml(text: str) -> str:
    """``text`` without secrets; comments too. What is no YAML is redacted as any other text."""
    try:
        roots = list(yaml.compose_all(text, yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return redact(text)
    edits = sorted({edit for root in roots if root is not None for edit in _edits(text, root, "", hidden=False)})
    parts: list[str] = []
    done = 0
    for start, end, new in edits:
        if start >= done:
            parts += (redact(text[done:start]), new)
            done = end
    return "".join([*parts, redact(text[done:])])


def _edits(text: str, node: yaml.Node, name: str, *, hidden: bool) -> Iterator[Edit]:
    """The places of all values, each with what stands there then."""
    if isinstance(node, yaml.MappingNode):
        yield from _of_mapping(text, node, hidden=hidden)
    elif isinstance(node, yaml.SequenceNode):
        before = name
        for item in node.value:
            yield from _edits(text, item, before, hidden=hidden)
            is_option = isinstance(item, yaml.ScalarNode) and str(item.value).startswith("--")
            before = item.value if is_option else name
    elif isinstance(node, yaml.ScalarNode):
        yield _scalar(text, node, name, hidden=hidden)


def _of_mapping(text: str, node: yaml.MappingNode, *, hidden: bool) -> Iterator[Edit]:
    keys = [str(key.value) for key, _ in node.value]
    if len(keys) == 1 and keys[0] in _REFERENCES:
        hidden = False  # a reference names a secret and holds none
    for key, (_, child) in zip(keys, node.value, strict=True):
        yield from _edits(text, child, key, hidden=hidden or key in _ALL_BELOW)


def _scalar(text: str, node: yaml.ScalarNode, name: str, *, hidden: bool) -> Edit:
    start, end = node.start_mark.index, node.end_mark.index
    written = text[start:end]
    if node.value and (hidden or redaction.is_secret(name, node.value)) and not _is_open(node):
        return start, end, _QUOTED + written[len(written.rstrip("\n")) :] if node.style in ("|", ">") else _QUOTED
    new = redact(written)
    return start, end, f'"{new}"' if new != written and new.startswith(MASK) and node.style is None else new


def _is_open(node: yaml.ScalarNode) -> bool:
    """Whether the value is a template or a word of YAML, which holds no secret."""
    value = str(node.value).strip()
    whole = value.startswith("{{") and value.endswith("}}") and value.count("{{") == 1
    return whole or (node.style is None and node.tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"))
