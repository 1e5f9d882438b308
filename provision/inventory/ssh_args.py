"""The ssh options an inventory passes in ``ansible_ssh_common_args`` and its kin.

Ansible hands these to OpenSSH's command line; there is no such command line here, so each option is understood, known to be
without effect here, or reported: never dropped in silence. As with ssh, the first value of an option counts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from provision.inventory.model import Connection

Policy = Literal["strict", "accept-new", "off"]
POLICIES: dict[str, Policy] = {
    "yes": "strict",
    "true": "strict",
    "ask": "strict",
    "accept-new": "accept-new",
    "no": "off",
    "off": "off",
    "false": "off",
}
_LETTERS = {"p": "port", "l": "user", "i": "identityfile", "J": "proxyjump"}
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
_NO_EFFECT_LETTERS = frozenset("46ACaknqTtvxXYy")
_NO_EFFECT = frozenset(
    "addkeystoagent batchmode canonicalizehostname checkhostip compression compressionlevel connectionattempts controlmaster "
    "controlpath controlpersist escapechar exitonforwardfailure forwardagent forwardx11 forwardx11trusted gssapiauthentication "
    "hashknownhosts ipqos kbdinteractiveauthentication loglevel numberofpasswordprompts passwordauthentication "
    "preferredauthentications pubkeyauthentication requesttty sendenv serveralivecountmax serveraliveinterval setenv "
    "streamlocalbindunlink tcpkeepalive updatehostkeys verifyhostkeydns visualhostkey".split()
)
"""Options about the look, the life and the speed of ssh's own connection; the transport has its own way for these."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class SshOptions:
    """What a list of ssh arguments says. ``values`` by lower-case option; the first of each counts."""

    values: dict[str, str]
    ssh_config: str | None
    warnings: tuple[str, ...]


def parse_ssh_args(arguments: str) -> SshOptions:
    """Read ssh arguments as a shell would split them. Raises ``ValueError`` in plain words."""
    values: dict[str, str] = {}
    warnings: list[str] = []
    config: str | None = None
    for letter, value in _options(shlex.split(arguments)):
        if letter == "F":
            config = config or value
        elif letter == "o":
            name, setting = _setting(value)
            _keep(values, name, setting, warnings)
        elif letter in _LETTERS:
            _keep(values, _LETTERS[letter], value, warnings)
        elif letter not in _NO_EFFECT_LETTERS and letter != "S":
            warnings.append(f"ssh option -{letter} has no effect here")
    return SshOptions(values, config, tuple(warnings))


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or len(word) < 2:
            raise ValueError(f"{word!r} is no ssh option")
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter not in _WITH_VALUE:
                yield letter, ""
                continue
            value = letters or next(rest, "")
            if not value:
                raise ValueError(f"ssh option -{letter} needs a value")
            yield letter, value
            break


def _setting(text: str) -> tuple[str, str]:
    """``Name=value`` or ``Name value``, as ssh_config takes both."""
    found = re.fullmatch(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)", text, re.DOTALL)
    if not found or not found[2].strip():
        raise ValueError(f"ssh option -o {text!r} needs the form Name=value")
    return found[1].lower(), found[2].strip()


def _keep(values: dict[str, str], name: str, value: str, warnings: list[str]) -> None:
    if name in _APPLY or name == "stricthostkeychecking":
        if name == "identityfile" and name in values:
            warnings.append("only the first identity file of the ssh arguments is used")
        values.setdefault(name, value)
    elif name not in _NO_EFFECT:
        warnings.append(f"ssh option {name} is not supported here and has no effect")


def apply(options: SshOptions, to: Connection) -> Connection:
    """``to`` with what the options add; what ``to`` says already stays. Raises ``ValueError`` in plain words."""
    connection = to
    for name, value in options.values.items():
        connection = _APPLY[name](connection, value)
    return replace(connection, ssh_config=connection.ssh_config or options.ssh_config)
