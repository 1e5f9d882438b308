"""Ansible's YAML inventory as groups and hosts, each variable with the place it was written.

``all / children / hosts / vars`` in one file, ``group_vars/`` and ``host_vars/`` beside it. The rules are those of
ansible-core 2.17 to 2.21 (plugins/inventory/yaml.py, inventory/data.py, plugins/vars/host_group_vars.py), except that
what Ansible skips with a warning (an unexpected key, a section that is no mapping) is an error here: one typo later a
node would silently be missing from the cluster.

Hosts are in Ansible's order: those of ``all`` first, then those of its groups, level by level. Where several groups
of one level have children, Ansible takes their children in no particular order (it keeps sets); here it is the
file's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from provision.errors import ConfigError, Position
from provision.inventory.merge import overlay
from provision.inventory.ranges import expand
from provision.yamlio import Node, describe, parse, read_text
from provision.yamlio import load as load_yaml

Variables = dict[str, Node]
ALL, UNGROUPED = "all", "ungrouped"
_SECTIONS = ("hosts", "vars", "children")
_SUFFIXES = (".yml", ".yaml", ".json")
_PRIORITY = "ansible_group_priority"


@dataclass(slots=True)
class RawHost:
    """A host as written; ``files`` holds what host_vars/ adds; ``position`` is where it is first named."""

    name: str
    position: Position
    vars: Variables = field(default_factory=dict)
    files: Variables = field(default_factory=dict)


@dataclass(slots=True)
class RawGroup:
    """A group as written; ``files`` holds what group_vars/ adds. ``depth`` is the longest way down from ``all``."""

    name: str
    position: Position
    vars: Variables = field(default_factory=dict)
    files: Variables = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    hosts: dict[str, None] = field(default_factory=dict)
    depth: int = 0
    priority: int = 1


@dataclass(slots=True)
class Structure:
    """All groups and hosts of an inventory file, and the errors that didn't stop the reading."""

    path: Path
    groups: dict[str, RawGroup] = field(default_factory=dict)
    hosts: dict[str, RawHost] = field(default_factory=dict)
    errors: list[ConfigError] = field(default_factory=list)

    def members(self, group: str) -> list[str]:
        """Host names of a group and of all below it, level by level: Ansible's order."""
        ordered: dict[str, None] = {}
        for name in self._below(group):
            ordered |= self.groups[name].hosts
        return list(ordered)

    def _below(self, group: str) -> list[str]:
        seen: dict[str, None] = {}
        level = [group]
        while level:
            seen.update(dict.fromkeys(level))
            level = [child for name in level for child in self.groups[name].children if child not in seen]
        return list(seen)

    def groups_of(self) -> dict[str, list[RawGroup]]:
        """Of each host, all its groups without ``all``, in the order in which their variables apply."""
        found: dict[str, list[RawGroup]] = {name: [] for name in self.hosts}
        for group in sorted(self.groups.values(), key=lambda group: (group.depth, group.priority, group.name)):
            if group.name != ALL:
                for host in self.members(group.name):
                    found[host].append(group)
        return found


def read(path: Path | str) -> Structure:
    """Read an inventory and the variable files beside it. Raises ``ConfigError`` where the YAML can't be read."""
    root = load_yaml(path)
    structure = Structure(Path(path))
    for name in (ALL, UNGROUPED):
        structure.groups[name] = RawGroup(name, root.position)
    structure.groups[ALL].children.append(UNGROUPED)
    reader = _Reader(structure)
    for name, node in root.children.items():
        reader.top(name, node, root.keys[name])
    _reconcile(structure)
    _measure(structure)
    _read_files(structure)
    return structure


class _Reader:
    """Walks the file's groups."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure

    def _error(self, message: str, where: Position, hint: str = "") -> None:
        self._structure.errors.append(ConfigError(message, where=where, hint=hint))

    def top(self, name: object, node: Node, where: Position) -> None:
        if name in (*_SECTIONS, "qnext", "plugin"):
            hint = "begin with 'all:' and put hosts:, vars: and children: below it; qnext: belongs into vars:"
            self._error(f"{name!r} cannot stand at the top: the top level names groups", where, hint)
        else:
            self.group(name, node, where)

    def group(self, name: object, node: Node, where: Position) -> str | None:
        if not isinstance(name, str) or not name:
            self._error(f"a group's name must be a text, not {describe(name)}", where, "quote it")
            return None
        group = self._structure.groups.setdefault(name, RawGroup(name, where))
        if isinstance(node.data, dict):
            for section, below in node.children.items():
                self._section(group, section, below, node.keys[section])
        elif node.data is not None:
            self._error(f"group {name!r} must be a mapping of hosts:, vars:, children:", node.position)
        return name

    def _section(self, group: RawGroup, name: object, node: Node, where: Position) -> None:
        if name not in _SECTIONS:
            self._error(f"unknown key {name!r} in group {group.name!r}", where, _section_hint(name))
            return
        if isinstance(node.data, str) and name != "vars":
            node = Node(
                {node.data: None}, node.position, {node.data: Node(None, node.position)}, {node.data: node.position}
            )
        if isinstance(node.data, dict):
            getattr(self, f"_{name}")(group, node)
        elif node.data is not None:
            hint = "write each as 'name:' on a line of its own, without a dash" if isinstance(node.data, list) else ""
            self._error(f"{name!r} of group {group.name!r} must be a mapping, not {describe(node.data)}", where, hint)

    def _vars(self, group: RawGroup, node: Node) -> None:
        variables = self._variables(node)
        if _PRIORITY in variables:
            self._priority(group, variables.pop(_PRIORITY))
        overlay(group.vars, variables)

    def _priority(self, group: RawGroup, node: Node) -> None:
        try:
            group.priority = int(node.data)
        except (TypeError, ValueError, OverflowError):
            self._error(f"{_PRIORITY} must be a whole number, not {describe(node.data)}", node.position)

    def _children(self, group: RawGroup, node: Node) -> None:
        for name, below in node.children.items():
            child = self.group(name, below, node.keys[name])
            if child is None:
                continue
            if child == ALL or child == group.name or group.name in self._structure._below(child):
                self._error(f"group {child!r} would be above and below {group.name!r}", node.keys[name])
            elif child not in group.children:
                group.children.append(child)

    def _hosts(self, group: RawGroup, node: Node) -> None:
        for pattern, below in node.children.items():
            where = node.keys[pattern]
            if not isinstance(pattern, str) or not pattern:
                self._error(f"a host's name must be a text, not {describe(pattern)}", where, "quote it")
                continue
            try:
                names, port = expand(pattern)
            except ValueError as error:
                self._error(f"host {pattern!r}: {error}", where)
                continue
            if below.data is not None and not isinstance(below.data, dict):
                self._error(
                    f"host {pattern!r} must hold variables (name: value), not {describe(below.data)}", below.position
                )
                continue
            variables = self._variables(below)
            for name in names:
                self._host(group, name, where, port, variables)

    def _host(self, group: RawGroup, name: str, where: Position, port: int | None, variables: Variables) -> None:
        host = self._structure.hosts.get(name)
        if host is None:
            host = self._structure.hosts[name] = RawHost(name, where)
            if port is not None:
                host.vars["ansible_port"] = Node(port, where)
        overlay(host.vars, variables)
        group.hosts[name] = None

    def _variables(self, node: Node) -> Variables:
        for name in node.children:
            if not isinstance(name, str):
                self._error(f"a variable's name must be a text, not {describe(name)}", node.keys[name], "quote it")
        return {name: child for name, child in node.children.items() if isinstance(name, str)}


def _section_hint(name: object) -> str:
    close = get_close_matches(str(name), _SECTIONS, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "a group holds hosts:, vars: and children:; variables such as qnext: belong into vars:"


def _reconcile(structure: Structure) -> None:
    """What Ansible does after reading: stray groups go below ``all``, hosts without a group into ``ungrouped``."""
    groups = structure.groups
    below = {child for group in groups.values() for child in group.children}
    groups[ALL].children += [name for name in groups if name not in below and name != ALL]
    grouped = {host for group in groups.values() if group.name not in (ALL, UNGROUPED) for host in group.hosts}
    ungrouped = groups[UNGROUPED]
    ungrouped.hosts = {host: None for host in (*ungrouped.hosts, *structure.hosts) if host not in grouped}


def _measure(structure: Structure) -> None:
    """Depth is the longest way down from ``all``; there are no loops (``_children`` refuses them)."""
    level, depth = {ALL}, 0
    while level:
        for name in level:
            structure.groups[name].depth = depth
        level, depth = {child for name in level for child in structure.groups[name].children}, depth + 1


# ---- group_vars/ and host_vars/


def _read_files(structure: Structure) -> None:
    beside = structure.path.parent
    entities: tuple[tuple[Path, dict[str, RawGroup] | dict[str, RawHost]], ...] = (
        (beside / "group_vars", structure.groups),
        (beside / "host_vars", structure.hosts),
    )
    for folder, named in entities:
        if not folder.is_dir():
            continue
        present = {entry.name for entry in folder.iterdir()}
        for name, entity in named.items():
            for file in _files_of(folder, name, present):
                _read_file(structure, file, entity.files)


def _files_of(folder: Path, name: str, present: set[str]) -> Iterator[Path]:
    """The file or folder of a host or group: the first of ``name``, ``name.yml``, ``name.yaml``, ``name.json``."""
    found = next((name + suffix for suffix in ("", *_SUFFIXES) if name + suffix in present), None)
    if found is None:
        return
    path = folder / found
    if path.is_dir():
        yield from _files_in(path)
    else:
        yield path


def _files_in(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name.endswith("~"):
            continue
        if entry.is_dir() and not entry.suffix:
            yield from _files_in(entry)
        elif entry.is_file() and entry.suffix in ("", *_SUFFIXES):
            yield entry


def _read_file(structure: Structure, file: Path, target: Variables) -> None:
    try:
        text = read_text(file)
        if text.startswith("$ANSIBLE_VAULT"):
            hint = "keep secrets out of it, and reference them as {env: NAME}, {file: PATH} or {command: …}"
            raise ConfigError("this file is encrypted by Ansible's vault", where=Position(str(file), 1, 1), hint=hint)
        node = parse(text, str(file))
        if node.data is not None and not isinstance(node.data, dict):
            raise node.error(f"a file of variables must hold a mapping (name: value), not {describe(node.data)}")
    except ConfigError as error:
        structure.errors.append(error)
    else:
        overlay(target, {name: child for name, child in node.children.items() if isinstance(name, str)})
