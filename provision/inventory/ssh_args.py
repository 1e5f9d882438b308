"""The ssh options that an inventory passes in ``ansible_ssh_common_args`` and its kin.

Ansible hands these to OpenSSH's command line; there is no such command line here, so each option is understood, known
to be without effect here, or reported: never dropped in silence. As with ssh, the first value of an option counts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from provision.inventory.model import Connection

_LETTERS = {"p": "port", "l": "user", "i": "identityfile", "J": "proxyjump", "F": "configfile"}
_WITH_VALUE = frozenset("BbcDEeFIiJLlmOoPpQRSWw")
_NO_EFFECT_LETTERS = frozenset("46ACaKkMNnqSTtvXxYy")
_NO_EFFECT = frozenset(
    {
        "addkeystoagent",
        "addressfamily",
        "batchmode",
        "canonicalizehostname",
        "checkhostip",
        "compression",
        "connectionattempts",
        "controlmaster",
        "controlpath",
        "controlpersist",
        "escapechar",
        "exitonforwardfailure",
        "forwardagent",
        "forwardx11",
        "forwardx11trusted",
        "gssapiauthentication",
        "hashknownhosts",
        "ipqos",
        "kbdinteractiveauthentication",
        "loglevel",
        "numberofpasswordprompts",
        "passwordauthentication",
        "preferredauthentications",
        "pubkeyauthentication",
        "requesttty",
        "sendenv",
        "serveralivecountmax",
        "serveraliveinterval",
        "setenv",
        "streamlocalbindunlink",
        "tcpkeepalive",
        "updatehostkeys",
        "verifyhostkeydns",
        "visualhostkey",
    }
)
"""Options about the look, the life and the speed of ssh's own connection: the transport has its own way for these."""

_POLICIES = {
    "yes": "strict",
    "true": "strict",
    "ask": "strict",
    "accept-new": "accept-new",
    "no": "off",
    "off": "off",
    "false": "off",
}
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(slots=True)
class SshOptions:
    """ssh options by lower-case name as ssh_config spells it; the first value given counts."""

    values: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        """One option, as ``-o name=value``."""
        if name not in _FIELDS:
            if name not in _NO_EFFECT:
                self.warnings.append(f"ssh option {name} has no effect here")
        elif name == "identityfile" and self.values.get(name, value) != value:
            self.warnings.append(f"only the first identity file is used, not {value}")
        else:
            self.values.setdefault(name, value)

    def add_arguments(self, arguments: str) -> None:
        """Arguments of ssh, split as a shell would. Raises ``ValueError`` in plain words."""
        for letter, value in _letters(shlex.split(arguments)):
            if letter == "o":
                self.add(*_setting(value))
            elif letter in _LETTERS:
                self.add(_LETTERS[letter], value)
            elif letter not in _NO_EFFECT_LETTERS:
                self.warnings.append(f"ssh option -{letter} has no effect here")

    def fields(self) -> dict[str, Any]:
        """As fields of ``Connection``. Raises ``ValueError`` in plain words."""
        fields: dict[str, Any] = {}
        for name, value in self.values.items():
            for key, parsed in _FIELDS[name](value).items():
                fields.setdefault(key, parsed)
        return fields


def _letters(words: list[str]) -> Iterator[tuple[str, str]]:
    """``-vp 22 -oX=y`` as (v, ''), (p, 22), (o, X=y)."""
    rest = iter(words)
    for word in rest:
        if not re.match("-[A-Za-z0-9]", word):
            raise ValueError(f"{word!r} is no option of ssh")
        flags = re.match(f"-([^{''.join(sorted(_WITH_VALUE))}]*)(.?)(.*)", word, re.DOTALL)
        assert flags
        yield from ((flag, "") for flag in flags[1])
        if flags[2]:
            value = flags[3] or next(rest, "")
            if not value:
                raise ValueError(f"option -{flags[2]} of ssh needs a value")
            yield flags[2], value


def _setting(text: str) -> tuple[str, str]:
    """``Name=value`` or ``Name value``: ssh takes both."""
    found = re.fullmatch(r"\s*(\w+)(?:\s*=\s*|\s+)(.*?)\s*", text, re.DOTALL)
    if not found or not found[2]:
        raise ValueError(f"option -o of ssh needs the form Name=value, not {text!r}")
    return found[1].lower(), found[2]


# ---- one option, as fields of a Connection


def _port(value: str) -> dict[str, Any]:
    return {"port": port_number(value)}


def port_number(value: object) -> int:
    """A TCP port. Raises ``ValueError`` in plain words."""
    if not re.fullmatch("[0-9]{1,5}", str(value)) or not 1 <= int(str(value)) <= 65535:
        raise ValueError(f"a port is a number from 1 to 65535, not {value!r}")
    return int(str(value))


def _policy(value: str) -> dict[str, Any]:
    policy = _POLICIES.get(value.lower())
    if policy is None:
        raise ValueError(f"StrictHostKeyChecking is yes, accept-new or no, not {value!r}")
    return {"host_key_policy": policy}


def _known_hosts(value: str) -> dict[str, Any]:
    files = ["/dev/null"] if value.lower() == "none" else shlex.split(value)
    return {"known_hosts": tuple(files)}


def _proxy_command(value: str) -> dict[str, Any]:
    return {"jump": (), "proxy_command": None} if value.lower() == "none" else {"proxy_command": value, "jump": None}


def _proxy_jump(value: str) -> dict[str, Any]:
    hops = () if value.lower() == "none" else tuple(_hop(hop) for hop in value.split(","))
    return {"jump": hops, "proxy_command": None}


_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<address>[^\]]+)\]|(?P<name>[^:@\[\]]+))(?::(?P<port>\d+))?/?\Z"
)


def _hop(text: str) -> Connection:
    found = _HOP.match(text.strip())
    if not found:
        raise ValueError(f"a jump host is written [user@]host[:port], not {text!r}")
    port = port_number(found["port"]) if found["port"] else None
    return Connection(host=found["address"] or found["name"], port=port, user=found["user"])


def _timeout(value: str) -> dict[str, Any]:
    if value.lower() == "none":
        return {}
    parts = re.findall(r"(\d+)([smhdw]?)", value.lower())
    if not parts or "".join(number + unit for number, unit in parts) != value.lower():
        raise ValueError(f"ConnectTimeout is a number of seconds, not {value!r}")
    return {"connect_timeout": float(sum(int(number) * _UNITS[unit] for number, unit in parts))}


def _identities_only(value: str) -> dict[str, Any]:
    return {"use_agent": False} if value.lower() == "yes" else {}


def _identity_agent(value: str) -> dict[str, Any]:
    if value.lower() == "none":
        return {"use_agent": False}
    if value == "SSH_AUTH_SOCK":
        return {}
    raise ValueError(f"IdentityAgent may be none or SSH_AUTH_SOCK here, not {value!r}")


_FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "configfile": lambda value: {"ssh_config": value},
    "connecttimeout": _timeout,
    "hostkeyalias": lambda value: {"host_key_alias": value},
    "identitiesonly": _identities_only,
    "identityagent": _identity_agent,
    "identityfile": lambda value: {"key_file": value.strip('"')},
    "port": _port,
    "proxycommand": _proxy_command,
    "proxyjump": _proxy_jump,
    "stricthostkeychecking": _policy,
    "user": lambda value: {"user": value},
    "userknownhostsfile": _known_hosts,
}
