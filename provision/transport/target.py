"""What to dial, as whom, with which key: a ``Connection`` with ~/.ssh/config and OpenSSH's defaults applied. Pure.

Precedence, a field: the inventory's word, then the ssh config for the host's name, then (for a jump host) the word of
the inventory on the host behind it, then OpenSSH's default.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from provision.errors import ConfigError
from provision.inventory.model import Connection
from provision.secrets import Secret
from provision.transport.known_hosts import DEFAULT_PORT, names_of

Policy = Literal["strict", "accept-new", "off"]
SshConfig = Callable[[str], Mapping[str, str | list[str]]]
"""Looks up a host: lower-case option names to values, as ``paramiko.SSHConfig.lookup`` does."""

CONNECT_TIMEOUT = 10.0
USER_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
GLOBAL_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
MAX_HOPS = 8


@dataclass(frozen=True, slots=True)
class Target:
    """One SSH server and how to log in to it. Equal targets are one connection, which jump hosts share.

    ``keys`` are files, ``explicit`` whether the operator named them (then it is an error where one can't be used).
    ``via`` is the jump host in front of it.
    """

    host: str
    port: int
    user: str
    keys: tuple[str, ...]
    explicit: bool
    agent: bool
    password: Secret | None
    key_names: tuple[str, ...]
    known_hosts: tuple[str, ...]
    policy: Policy
    timeout: float
    proxy_command: str | None = None
    via: Target | None = None

    @property
    def address(self) -> str:
        """How to show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"

    @property
    def new_keys_file(self) -> str:
        """Where ``accept-new`` writes."""
        return self.known_hosts[0]


def resolve(connection: Connection, config: SshConfig) -> Target:
    """The target of a host's connection. Raises ``ConfigError`` for jump hosts that lead round in a circle."""
    return _resolve(connection, config, connection, MAX_HOPS)


def _resolve(connection: Connection, config: SshConfig, behind: Connection, hops: int) -> Target:
    if hops == 0:
        raise ConfigError(
            f"more than {MAX_HOPS} jump hosts before {behind.host}",
            hint="does a ProxyJump in ~/.ssh/config lead back to itself?",
        )
    options = config(connection.host)
    target = _without_proxy(connection, options, behind)
    jump, command = _proxies(connection, options)
    if jump:
        hop = replace(jump[-1], jump=jump[:-1]) if len(jump) > 1 else jump[-1]
        hop = replace(hop, ssh_config=behind.ssh_config)
        return replace(target, via=_resolve(hop, config, behind, hops - 1))
    return replace(target, proxy_command=_expand(command, target) if command else None)


def _without_proxy(connection: Connection, options: Mapping[str, str | list[str]], behind: Connection) -> Target:
    host = _word(options, "hostname") or connection.host
    port = connection.port or int(_word(options, "port") or DEFAULT_PORT)
    alias = connection.host_key_alias or _word(options, "hostkeyalias")
    keys, explicit, agent = _identities(connection, options, behind)
    return Target(
        host=host,
        port=port,
        user=connection.user or _word(options, "user") or getpass.getuser(),
        keys=keys,
        explicit=explicit,
        agent=agent,
        password=connection.password or behind.password,
        key_names=names_of(host, port, alias),
        known_hosts=_known_hosts(connection, options, behind),
        policy=_policy(connection, options, behind),
        timeout=connection.connect_timeout
        or float(_word(options, "connecttimeout") or 0)
        or behind.connect_timeout
        or CONNECT_TIMEOUT,
    )


def _identities(
    connection: Connection, options: Mapping[str, str | list[str]], behind: Connection
) -> tuple[tuple[str, ...], bool, bool]:
    """Key files, whether they were named, and whether an agent may be asked."""
    use_agent = connection.use_agent if connection.use_agent is not None else behind.use_agent
    only = _word(options, "identitiesonly") == "yes" or _word(options, "identityagent") == "none"
    agent = use_agent if use_agent is not None else not only
    named = [connection.key_file] if connection.key_file else _list(options, "identityfile")
    if not named and behind.key_file:
        named = [behind.key_file]
    if named:
        return tuple(_expanded(path) for path in named), True, agent
    if connection.password or behind.password:
        return (), False, bool(use_agent)
    return tuple(path for path in map(_expanded, DEFAULT_KEYS) if Path(path).exists()), False, agent


def _known_hosts(connection: Connection, options: Mapping[str, str | list[str]], behind: Connection) -> tuple[str, ...]:
    user = (
        connection.known_hosts
        or tuple(_word(options, "userknownhostsfile").split())
        or behind.known_hosts
        or USER_KNOWN_HOSTS
    )
    system = tuple(_word(options, "globalknownhostsfile").split()) or GLOBAL_KNOWN_HOSTS
    return tuple(_expanded(path) for path in (*user, *system) if path != "none")


def _policy(connection: Connection, options: Mapping[str, str | list[str]], behind: Connection) -> Policy:
    said = _word(options, "stricthostkeychecking").lower()
    words: dict[str, Policy] = {"yes": "strict", "ask": "strict", "no": "off", "off": "off", "accept-new": "accept-new"}
    return connection.host_key_policy or words.get(said) or behind.host_key_policy or "strict"


def _proxies(
    connection: Connection, options: Mapping[str, str | list[str]]
) -> tuple[tuple[Connection, ...], str | None]:
    if connection.jump is not None or connection.proxy_command is not None:
        return connection.jump or (), connection.proxy_command
    jump = _word(options, "proxyjump")
    if jump and jump.lower() != "none":
        return tuple(_hop(word) for word in jump.split(",")), None
    command = _word(options, "proxycommand")
    return (), command if command.lower() != "none" else None


def _hop(word: str) -> Connection:
    """``[user@]host[:port]``, ``ssh://`` before it or not."""
    user, _, rest = word.strip().removeprefix("ssh://").rpartition("@")
    host, port = rest, ""
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    return Connection(host=host, port=int(port) if port.isdigit() else None, user=user or None)


def _expand(command: str, target: Target) -> str:
    tokens = {"%": "%", "h": target.host, "p": str(target.port), "r": target.user, "n": target.host}
    parts = command.split("%")
    out, index = [parts[0]], 1
    while index < len(parts):
        part = parts[index]
        if not part and index + 1 < len(parts):  # "%%": the next part follows a literal percent sign
            out.append("%" + parts[index + 1])
            index += 2
            continue
        out.append((tokens[part[0]] + part[1:]) if part and part[0] in tokens else "%" + part)
        index += 1
    return "".join(out)


def _word(options: Mapping[str, str | list[str]], name: str) -> str:
    value = options.get(name, "")
    return value if isinstance(value, str) else (value[0] if value else "")


def _list(options: Mapping[str, str | list[str]], name: str) -> list[str]:
    value = options.get(name, [])
    return [value] if isinstance(value, str) else list(value)


def _expanded(path: str) -> str:
    return str(Path(path).expanduser())
