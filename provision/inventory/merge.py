"""How variables of several levels become one: ordinary ones are replaced, ``qnext`` alone is merged key by key.

Replacing is Ansible's rule (``hash_behaviour=replace``), kept for every variable that Ansible may use. ``qnext``
would be of no use under that rule: a host that sets ``qnext.data_address`` would lose the model.
"""

from __future__ import annotations

from provision.yamlio import Node

QNEXT = "qnext"
_SECRET_KINDS = frozenset({"env", "file", "command"})


def overlay(target: dict[str, Node], variables: dict[str, Node]) -> None:
    """Lay ``variables`` over ``target``."""
    for name, node in variables.items():
        target[name] = merged(target[name], node) if name == QNEXT and name in target else node


def merged(lower: Node, upper: Node) -> Node:
    """``upper`` over ``lower``: mappings key by key, all else (lists too) replaced. Places stay with their values."""
    if not (isinstance(lower.data, dict) and isinstance(upper.data, dict)) or _both_secrets(lower, upper):
        return upper
    children = dict(lower.children)
    for key, child in upper.children.items():
        children[key] = merged(children[key], child) if key in children else child
    data = {key: child.data for key, child in children.items()}
    return Node(data, upper.position, children, {**lower.keys, **upper.keys})


def _both_secrets(lower: Node, upper: Node) -> bool:
    """Two secret references don't mix: ``{env: A}`` below ``{file: B}`` is ``{file: B}``."""
    return _is_secret(lower.data) and _is_secret(upper.data)


def _is_secret(data: dict[object, object]) -> bool:
    return len(data) == 1 and data.keys() <= _SECRET_KINDS and all(isinstance(value, str) for value in data.values())
