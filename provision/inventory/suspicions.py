"""What in an inventory is allowed but probably not meant: warnings, each with its place.

Foremost the scalars that Ansible (YAML 1.1) reads as another value than this tool (YAML 1.2): ``no`` is False there
and a text here. Both tools read this file, so a variable that both may use must be written so that it is the same to
both. Not reported: anything below ``qnext``, which Ansible doesn't use, and Ansible's own booleans, whose words are
understood.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from provision.inventory import ansible_vars
from provision.inventory.merge import QNEXT
from provision.inventory.structure import RawGroup, RawHost, Structure
from provision.yamlio import Node


def suspicions(structure: Structure) -> Iterator[str]:
    """Warnings about groups, hosts and variables as written."""
    for name in structure.groups.keys() & structure.hosts.keys():
        yield f"{structure.hosts[name].position}: {name!r} names both a host and a group"
    seen: set[int] = set()
    entities: tuple[RawGroup | RawHost, ...] = (*structure.groups.values(), *structure.hosts.values())
    for entity in entities:
        for variables in (entity.vars, entity.files):
            for name, node in variables.items():
                if id(node) not in seen:
                    seen.add(id(node))
                    yield from _variable(name, node)


def _variable(name: str, node: Node) -> Iterator[str]:
    meant = ansible_vars.misspelt(name) or next(iter(get_close_matches(name, [QNEXT], cutoff=0.8)), None)
    if name == QNEXT:
        return
    if meant:
        yield f"{node.position}: {name!r} has no effect here; did you mean {meant!r}?"
    if name not in ansible_vars.BOOLEANS:
        for part in node.walk():
            if part.ambiguous:
                yield f"{part.position}: {name}: Ansible reads {part.text} as another value; put it in quotes"
