"""From ``cluster.yaml`` to a validated ``Inventory``: the one way in.

``load`` tells the story; each step has its file: ``structure`` reads Ansible's groups and hosts, ``merge`` makes the
levels one, ``scope`` evaluates templates, ``ansible_vars`` reads how a host is reached, ``validate`` judges
``qnext``. All errors of all steps are found in one go: the first is raised, ``others`` holds the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from provision.errors import ConfigError, Position
from provision.inventory import ansible_vars
from provision.inventory.agree import disagreements
from provision.inventory.merge import QNEXT, overlay
from provision.inventory.model import Host, Inventory, Settings
from provision.inventory.ranges import is_ip_address
from provision.inventory.scope import HostScope, HostVars, Lookup
from provision.inventory.structure import ALL, RawGroup, RawHost, Structure, read
from provision.inventory.suspicions import suspicions
from provision.inventory.validate import settings as validate
from provision.secrets import know
from provision.yamlio import Node

Variables = dict[str, Node]


def load(path: Path | str, *, env: Mapping[str, str] | None = None) -> Inventory:
    """Read an inventory and all that lies beside it. Raises ``ConfigError``; ``others`` holds all further errors.

    ``env`` is what ``lookup('env', …)`` sees; default: the environment.
    """
    return _Loading(read(path), os.environ if env is None else env).inventory()


class _Loading:
    """One load. Hosts whose merged ``qnext`` is the same share one ``Settings``."""

    def __init__(self, structure: Structure, env: Mapping[str, str]) -> None:
        self._structure = structure
        self._errors: dict[tuple[str, Position | None], ConfigError] = {}
        self._warnings: dict[str, None] = {}
        self._validated: dict[str, Settings | None] = {}
        self._merged: dict[tuple[str, ...], Variables] = {}
        self._groups = {name: tuple(structure.members(name)) for name in structure.groups}
        self._groups_of = structure.groups_of()
        self._qnext: dict[str, Node] = {}
        self._without_qnext: list[RawHost] = []
        self._scopes: dict[str, HostScope] = {}
        self._magic_of_all = {
            "inventory_dir": str(structure.path.resolve().parent),
            "inventory_file": str(structure.path.resolve()),
            "groups": self._groups,
            "hostvars": HostVars(structure.hosts, self._scope),
            "lookup": Lookup(env, structure.path.parent),
        }

    def inventory(self) -> Inventory:
        self._failed(self._structure.errors)
        hosts = self._hosts()
        self._failed(self._missing_qnext())
        self._failed(disagreements(hosts, self._qnext))
        self._raise(hosts)
        self._warn_of_twins(hosts)
        return Inventory(
            path=str(self._structure.path),
            hosts=hosts,
            groups=self._groups_without_left_out(hosts),
            digest=digest(hosts),
            warnings=tuple(dict.fromkeys((*suspicions(self._structure), *self._warnings))),
            written=self._qnext,
        )

    def _hosts(self) -> tuple[Host, ...]:
        found = [self._host(self._structure.hosts[name]) for name in self._groups[ALL]]
        return tuple(replace(host, index=index) for index, host in enumerate(filter(None, found)))

    def _host(self, raw: RawHost) -> Host | None:
        """None where it is left out (``qnext: null``) or wrong. Its index is given when all are known."""
        scope = self._scope(raw.name)
        qnext = scope.node(QNEXT)
        if qnext is None:
            self._without_qnext.append(raw)
            return None
        if qnext.data is None:
            return None
        self._qnext[raw.name] = qnext
        reached = ansible_vars.connection(raw.name, scope, self._fail, self._warn)
        settings = self._settings(qnext, scope)
        if settings:
            know(settings.serve.env)
        groups = (ALL, *(group.name for group in self._groups_of[raw.name]))
        return Host(raw.name, 0, groups, reached, settings, _shown(scope)) if settings else None

    def _missing_qnext(self) -> Iterator[ConfigError]:
        if self._without_qnext:
            first = self._without_qnext[0]
            others = f" and {len(self._without_qnext) - 1} more" if len(self._without_qnext) > 1 else ""
            hint = "set it in vars: of a group, or 'qnext: null' on a host that is no node of this cluster"
            yield ConfigError(f"host {first.name!r}{others}: no 'qnext' variable", where=first.position, hint=hint)

    def _scope(self, name: str) -> HostScope:
        if name not in self._scopes:
            raw, groups = self._structure.hosts[name], self._groups_of[name]
            self._scopes[name] = HostScope(self._variables(raw, groups), self._magic(raw, groups))
        return self._scopes[name]

    def _variables(self, raw: RawHost, groups: list[RawGroup]) -> Variables:
        """Lowest first: all, groups, group_vars/all, group_vars of groups, host, host_vars: Ansible's order."""
        key = tuple(group.name for group in groups)
        if key not in self._merged:
            everyone = self._structure.groups[ALL]
            base: Variables = {}
            for level in (everyone.vars, *(g.vars for g in groups), everyone.files, *(g.files for g in groups)):
                overlay(base, level)
            self._merged[key] = base
        variables = dict(self._merged[key])
        overlay(variables, raw.vars)
        overlay(variables, raw.files)
        return variables

    def _magic(self, raw: RawHost, groups: list[RawGroup]) -> dict[str, Any]:
        return {
            **self._magic_of_all,
            "inventory_hostname": raw.name,
            "inventory_hostname_short": raw.name if is_ip_address(raw.name) else raw.name.split(".")[0],
            "group_names": sorted(group.name for group in groups),
        }

    def _settings(self, qnext: Node, scope: HostScope) -> Settings | None:
        if not isinstance(qnext.data, dict):
            self._fail(qnext.error("qnext must be a mapping", hint="put its keys below it, indented"))
            return None
        try:
            data = scope.plain(qnext)
        except ConfigError as error:
            self._fail(error)
            return None
        key = json.dumps(data, default=str)
        if key not in self._validated:
            self._validated[key], errors = validate(data, qnext)
            self._failed(errors)
        return self._validated[key]

    def _groups_without_left_out(self, hosts: Iterable[Host]) -> dict[str, tuple[str, ...]]:
        present = {host.name for host in hosts}
        return {group: tuple(name for name in names if name in present) for group, names in self._groups.items()}

    # ---- errors and warnings

    def _fail(self, error: ConfigError) -> None:
        self._errors.setdefault((error.message, error.where), error)

    def _failed(self, errors: Iterable[ConfigError]) -> None:
        for error in errors:
            self._fail(error)

    def _warn(self, message: str, where: Position) -> None:
        self._warnings[f"{where}: {message}"] = None

    def _warn_of_twins(self, hosts: tuple[Host, ...]) -> None:
        """Two names for one machine: its devices and ports would be given away twice."""
        first: dict[tuple[object, ...], str] = {}
        for host in hosts:
            way = host.connection
            other = first.setdefault((way.kind, way.host, way.port, way.jump, way.proxy_command), host.name)
            if other != host.name:
                same = f"{other!r} and {host.name!r} are both reached as {way.host}: one machine, twice?"
                self._warn(same, self._structure.hosts[host.name].position)

    def _raise(self, hosts: tuple[Host, ...]) -> None:
        if not hosts and not self._errors:
            where = self._structure.groups[ALL].position
            self._fail(ConfigError("this inventory has no hosts", where=where, hint="name them below all: hosts:"))
        if self._errors:
            first, *others = sorted(self._errors.values(), key=_place)
            raise ConfigError(first.message, where=first.where, hint=first.hint, others=others)


def _place(error: ConfigError) -> tuple[str, int, int]:
    return (error.where.file, error.where.line, error.where.column) if error.where else ("", 0, 0)


def _shown(scope: HostScope) -> HostScope:
    """A host's variables for others to read: without passwords."""
    return scope.without(ansible_vars.SECRET_VARIABLES | {QNEXT, "hostvars", "lookup"})


def digest(hosts: Iterable[Host]) -> str:
    """SHA-256 over everything that was resolved, secrets masked: equal digests are equal clusters."""
    dumped: dict[int, object] = {}
    canonical = []
    for host in hosts:
        if id(host.settings) not in dumped:
            dumped[id(host.settings)] = host.settings.model_dump(mode="json")
        reached = asdict(host.connection)
        canonical.append([host.name, host.groups, reached, dumped[id(host.settings)]])
    return hashlib.sha256(json.dumps(canonical, sort_keys=True, default=str).encode()).hexdigest()
