"""The ``ansible_*`` variables that say how a host is reached, as Ansible's ssh and sudo plugins read them.

Where several names mean the same, the order is Ansible's (of those defined, the last in the plugin's list counts),
and where a variable and an ssh argument say different things, the one that Ansible puts first on ssh's command line
counts.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

from provision.errors import ConfigError, Position
from provision.inventory.model import Connection
from provision.inventory.scope import HostScope, unlazy
from provision.inventory.ssh_args import SshOptions
from provision.secrets import Secret
from provision.yamlio import describe

HOST = ("ansible_host", "ansible_ssh_host")
PORT = ("ansible_port", "ansible_ssh_port")
USER = ("ansible_user", "ansible_ssh_user")
KEY_FILE = ("ansible_private_key_file", "ansible_ssh_private_key_file")
PASSWORD = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
BECOME_PASSWORD = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
BECOME_USER = ("ansible_become_user", "ansible_sudo_user")
HOST_KEY_CHECKING = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
TIMEOUT = ("ansible_timeout", "ansible_ssh_timeout")
SECRET_VARIABLES = frozenset(PASSWORD + BECOME_PASSWORD)
BOOLEANS = frozenset({"ansible_become", *HOST_KEY_CHECKING})
_INLINE_KEYS = ("ansible_private_key", "ansible_ssh_private_key", "ansible_private_key_passphrase")
_NO_EFFECT = (
    "ansible_become_exe",
    "ansible_become_flags",
    "ansible_sudo_exe",
    "ansible_sudo_flags",
    "ansible_ssh_executable",
)

T = TypeVar("T")

_KINDS: dict[str, Literal["ssh", "local"]] = {
    "ssh": "ssh",
    "smart": "ssh",
    "paramiko": "ssh",
    "paramiko_ssh": "ssh",
    "local": "local",
}
_YES = frozenset({"y", "yes", "on", "1", "true", "t"})
_NO = frozenset({"n", "no", "off", "0", "false", "f"})


def connection(
    name: str, scope: HostScope, fail: Callable[[ConfigError], None], warn: Callable[[str, Position], None]
) -> Connection:
    """How the host ``name`` is reached. What is wrong goes to ``fail``, at its variable, and counts as not given."""
    reader = _Reader(scope, fail, warn)
    reader.attempt(reader.refuse_what_cannot_work, None)
    return Connection(
        kind=reader.attempt(reader.kind, "ssh"),
        host=reader.attempt(lambda: reader.text(HOST), None) or name,
        password=reader.attempt(lambda: reader.secret(PASSWORD), None),
        become=reader.attempt(lambda: reader.boolean(("ansible_become",)), None) or False,
        become_password=reader.attempt(lambda: reader.secret(BECOME_PASSWORD), None),
        **reader.ssh_fields(),
    )


class _Reader:
    """Reads variables by the names they go by."""

    def __init__(
        self, scope: HostScope, fail: Callable[[ConfigError], None], warn: Callable[[str, Position], None]
    ) -> None:
        self._scope = scope
        self._fail = fail
        self._warn = warn

    def attempt(self, read: Callable[[], T], otherwise: T) -> T:
        """What ``read`` gives; after an error, which is reported, ``otherwise``."""
        try:
            return read()
        except ConfigError as error:
            self._fail(error)
            return otherwise

    def _find(self, names: tuple[str, ...]) -> tuple[str, Any]:
        """The name that counts and its value; None where no name is defined."""
        for name in reversed(names):
            if name in self._scope and (value := self._scope[name]) is not None:
                return name, value
        return names[0], None

    def _error(self, name: str, message: str, hint: str = "") -> ConfigError:
        node = self._scope.node(name)
        return ConfigError(f"{name}: {message}", where=node.position if node else None, hint=hint)

    def text(self, names: tuple[str, ...]) -> str | None:
        name, value = self._find(names)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._error(name, f"expected a text, not {describe(unlazy(value))}")
        return str(value)

    def boolean(self, names: tuple[str, ...]) -> bool | None:
        """Also the words of YAML 1.1 (yes, no, on, off), which Ansible takes for booleans."""
        name, value = self._find(names)
        word = str(value).lower()
        if value is None or word == "":
            return None
        if word in _YES | _NO:
            return word in _YES
        raise self._error(name, f"expected true or false, not {describe(unlazy(value))}")

    def secret(self, names: tuple[str, ...]) -> Secret | None:
        name, value = self._find(names)
        if value is None or value == "":
            return None
        try:
            return Secret.of(str(value) if isinstance(value, int) else unlazy(value))
        except ValueError as error:
            raise self._error(name, str(error)) from None

    def kind(self) -> Literal["ssh", "local"]:
        given = self.text(("ansible_connection",)) or "ssh"
        kind = _KINDS.get(given.removeprefix("ansible.builtin.").removeprefix("ansible.netcommon."))
        if kind is None:
            raise self._error("ansible_connection", f"{given!r} cannot be used here", "use ssh (the default) or local")
        return kind

    def refuse_what_cannot_work(self) -> None:
        """Privileges are gained by sudo, for root, or not at all; keys are files."""
        method = self.text(("ansible_become_method",)) or "sudo"
        if method.removeprefix("ansible.builtin.") != "sudo":
            raise self._error(
                "ansible_become_method", f"{method!r} is not supported", "only sudo is; remove the variable"
            )
        name, user = self._find(BECOME_USER)
        if user not in (None, "", "root"):
            raise self._error(name, f"containers are run by root, not by {user!r}", "remove the variable")
        for name in _INLINE_KEYS:
            if name in self._scope:
                raise self._error(
                    name, "keys are read from files only", "name the file in ansible_ssh_private_key_file"
                )
        for name in _NO_EFFECT:
            if name in self._scope and (node := self._scope.node(name)):
                self._warn(f"{name} has no effect here", node.position)

    def ssh_fields(self) -> dict[str, Any]:
        """All that ssh's command line would say, in Ansible's order; the first value of an option counts."""
        options = SshOptions()
        self._add_arguments(options, "ansible_ssh_args")
        if self.attempt(lambda: self.boolean(HOST_KEY_CHECKING), None) is False:
            options.add("stricthostkeychecking", "no")
        self._add(options, "port", PORT)
        self._add(options, "identityfile", KEY_FILE)
        self._add(options, "user", USER)
        self._add(options, "connecttimeout", TIMEOUT)
        self._add_arguments(options, "ansible_ssh_common_args")
        self._add_arguments(options, "ansible_ssh_extra_args")
        return options.fields()

    def _add(self, options: SshOptions, option: str, names: tuple[str, ...]) -> None:
        value = self.attempt(lambda: self.text(names), None)
        if value is not None:
            self.attempt(lambda: self._checked(options, SshOptions({option: value}), self._find(names)[0], ""), None)

    def _add_arguments(self, options: SshOptions, name: str) -> None:
        text = self.attempt(lambda: self.text((name,)), None)
        if text is not None:
            self.attempt(lambda: self._parsed(options, name, text), None)

    def _parsed(self, options: SshOptions, name: str, text: str) -> None:
        hint = "these are arguments of ssh, e.g. -o ProxyJump=bastion"
        found = SshOptions()
        try:
            found.add_arguments(text)
        except ValueError as error:
            raise self._error(name, str(error), hint) from None
        self._checked(options, found, name, hint)
        node = self._scope.node(name)
        if node is not None:
            for warning in found.warnings:
                self._warn(f"{name}: {warning}", node.position)

    def _checked(self, options: SshOptions, found: SshOptions, name: str, hint: str) -> None:
        """Add what was found under the variable ``name``, if it can be understood."""
        try:
            found.fields()
        except ValueError as error:
            raise self._error(name, str(error), hint) from None
        for option, value in found.values.items():
            options.add(option, value)


KNOWN = frozenset(
    {
        *(HOST + PORT + USER + KEY_FILE + BECOME_USER + TIMEOUT),
        *(SECRET_VARIABLES | BOOLEANS),
        "ansible_become_method",
        "ansible_connection",
        "ansible_ssh_args",
        "ansible_ssh_common_args",
        "ansible_ssh_extra_args",
    }
)
_ALSO_ANSIBLE = frozenset({"ansible_scp_extra_args", "ansible_sftp_extra_args", "ansible_shell_type"})


def misspelt(name: str) -> str | None:
    """The connection variable that ``name`` probably means; None where it may be one of Ansible's many others."""
    if not name.startswith("ansible_") or name in KNOWN | _ALSO_ANSIBLE:
        return None
    close = get_close_matches(name, KNOWN, 1, cutoff=0.9)
    return close[0] if close else None
