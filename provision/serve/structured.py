"""Arguments of ``vllm serve`` whose value is a structure, read whichever way an operator wrote them.

A mapping, a string of JSON, and dotted names (``compilation-config.cudagraph_mode``) mean the same to vLLM. What can't
be read is nothing: rules of their own say so (S08).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from provision.serve.argv import engine_arguments
from provision.serve.layout import Layout

Structure = Mapping[str, object]


def structure(layout: Layout, index: int, name: str) -> Structure:
    """The argument ``name`` (with dashes) of site ``index``; empty where it isn't given."""
    found: dict[str, object] = {}
    for key, value in engine_arguments(layout, index).items():
        head, _, rest = key.partition(".")
        if head == name:
            found |= {rest: value} if rest else mapping(value)
    return found


def mapping(value: object) -> Structure:
    """A mapping, given as such or as JSON; empty for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def at(given: object, *path: str) -> object:
    """What stands below nested mappings; None where nothing does."""
    for step in path:
        given = mapping(given).get(step)
    return given


def whole(value: object) -> int | None:
    """A whole number, written as one or as a text of digits."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def connectors(layout: Layout, index: int) -> Iterator[Structure]:
    """The KV connectors of site ``index``: that of kv-transfer-config, and those that a MultiConnector holds."""
    todo = [structure(layout, index, "kv-transfer-config")]
    while todo:
        connector = todo.pop(0)
        if connector:
            yield connector
        inner = at(connector, "kv_connector_extra_config", "connectors")
        todo += [mapping(each) for each in inner] if isinstance(inner, list) else []
