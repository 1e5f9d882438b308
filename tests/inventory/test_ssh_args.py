"""ssh's arguments as an inventory passes them."""

from __future__ import annotations

from typing import Any

import pytest

from provision.inventory.model import Connection
from provision.inventory.ssh_args import SshOptions

GATE = Connection(host="gate.example.com")

UNDERSTOOD: dict[str, dict[str, Any]] = {
    "-p 2222": {"port": 2222},
    "-p2222": {"port": 2222},
    "-l ops": {"user": "ops"},
    "-i ~/.ssh/key": {"key_file": "~/.ssh/key"},
    "-F /etc/ssh/other": {"ssh_config": "/etc/ssh/other"},
    "-o Port=2222": {"port": 2222},
    "-oPort=2222": {"port": 2222},
    "-o 'Port 2222'": {"port": 2222},
    "-o port=1 -p 2": {"port": 1},
    "-vvCo Port=3": {"port": 3},
    "-o 'IdentityFile=\"/with space/key\"'": {"key_file": "/with space/key"},
    "-o UserKnownHostsFile=/a": {"known_hosts": ("/a",)},
    "-o 'UserKnownHostsFile=/a ~/b'": {"known_hosts": ("/a", "~/b")},
    "-o UserKnownHostsFile=none": {"known_hosts": ("/dev/null",)},
    "-o StrictHostKeyChecking=yes": {"host_key_policy": "strict"},
    "-o StrictHostKeyChecking=ask": {"host_key_policy": "strict"},
    "-o StrictHostKeyChecking=accept-new": {"host_key_policy": "accept-new"},
    "-o StrictHostKeyChecking=no": {"host_key_policy": "off"},
    "-o stricthostkeychecking=OFF": {"host_key_policy": "off"},
    "-o HostKeyAlias=node": {"host_key_alias": "node"},
    "-o ConnectTimeout=5": {"connect_timeout": 5.0},
    "-o ConnectTimeout=1m30s": {"connect_timeout": 90.0},
    "-o IdentitiesOnly=yes": {"use_agent": False},
    "-o IdentityAgent=none": {"use_agent": False},
    "-J gate.example.com": {"jump": (GATE,), "proxy_command": None},
    "-o ProxyJump=gate.example.com": {"jump": (GATE,), "proxy_command": None},
    "-J me@gate.example.com:2222": {
        "jump": (Connection(host="gate.example.com", port=2222, user="me"),),
        "proxy_command": None,
    },
    "-J ssh://me@gate.example.com:2222/": {
        "jump": (Connection(host="gate.example.com", port=2222, user="me"),),
        "proxy_command": None,
    },
    "-J a,b@c:1,[2001:db8::1]:22": {
        "jump": (
            Connection(host="a"),
            Connection(host="c", port=1, user="b"),
            Connection(host="2001:db8::1", port=22),
        ),
        "proxy_command": None,
    },
    "-o ProxyJump=none": {"jump": (), "proxy_command": None},
    "-o ProxyCommand=none": {"jump": (), "proxy_command": None},
    "-o ProxyCommand='ssh -W %h:%p gate'": {"proxy_command": "ssh -W %h:%p gate", "jump": None},
    "-o ProxyCommand='nc %h %p' -J a": {"proxy_command": "nc %h %p", "jump": None},
    "-J a -o ProxyCommand='nc %h %p'": {"jump": (Connection(host="a"),), "proxy_command": None},
    "-C -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=30 -4A": {},
    "": {},
}


@pytest.mark.parametrize("arguments", UNDERSTOOD)
def test_what_is_understood(arguments: str) -> None:
    options = SshOptions()
    options.add_arguments(arguments)
    assert options.fields() == UNDERSTOOD[arguments]
    assert not options.warnings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-o Ciphers=aes128-ctr", "ciphers"),
        ("-o GlobalKnownHostsFile=/x", "globalknownhostsfile"),
        ("-D 1080", "-D"),
        ("-L 1:a:2", "-L"),
        ("-i a -i b", "only the first identity file"),
    ],
)
def test_what_has_no_effect_is_said(arguments: str, said: str) -> None:
    options = SshOptions()
    options.add_arguments(arguments)
    assert len(options.warnings) == 1
    assert said in options.warnings[0]


WRONG = {
    "-p x": "a port is a number",
    "-p 0": "a port is a number",
    "-o Port=70000": "a port is a number",
    "-o StrictHostKeyChecking=maybe": "yes, accept-new or no",
    "-J a@@b": "a jump host is written",
    "-J a,,b": "a jump host is written",
    "-J a:99999": "a port is a number",
    "-o ConnectTimeout=soon": "number of seconds",
    "-o IdentityAgent=/run/agent": "none or SSH_AUTH_SOCK",
    "-o Port": "the form Name=value",
    "-o": "needs a value",
    "-J": "needs a value",
    "gate": "no option of ssh",
    "--jump gate": "no option of ssh",
    "-o 'Port=1": "No closing quotation",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_what_is_wrong(arguments: str) -> None:
    with pytest.raises(ValueError, match=WRONG[arguments]):
        fields_of(arguments)


def fields_of(arguments: str) -> dict[str, Any]:
    options = SshOptions()
    options.add_arguments(arguments)
    return options.fields()
