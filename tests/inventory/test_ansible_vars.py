"""How a host is reached, from its ``ansible_*`` variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.errors import ConfigError
from provision.inventory.ansible_vars import misspelt
from provision.inventory.model import Connection, Inventory
from provision.secrets import Secret

from .conftest import QNEXT

Loaded = Callable[..., Inventory]


def inventory_of(variables: str, host: str = "n1") -> str:
    return f"all:\n  vars:\n    qnext: {QNEXT}\n  hosts:\n    {host}: {{{variables}}}\n"


REACHED: dict[str, dict[str, Any]] = {
    "": {},
    "ansible_host: 192.0.2.1": {"host": "192.0.2.1"},
    "ansible_ssh_host: 192.0.2.1": {"host": "192.0.2.1"},
    "ansible_host: a, ansible_ssh_host: b": {"host": "b"},
    "ansible_port: 2222": {"port": 2222},
    'ansible_port: "2222"': {"port": 2222},
    "ansible_user: ops": {"user": "ops"},
    "ansible_ssh_user: ops": {"user": "ops"},
    "ansible_user: ''": {},
    "ansible_user: null": {},
    "ansible_ssh_private_key_file: ~/.ssh/key": {"key_file": "~/.ssh/key"},
    "ansible_private_key_file: /key with space": {"key_file": "/key with space"},
    "ansible_password: s3cret-word": {"password": Secret.of("s3cret-word")},
    "ansible_ssh_pass: s3cret-word": {"password": Secret.of("s3cret-word")},
    "ansible_password: 12345678": {"password": Secret.of("12345678")},
    "ansible_password: {env: PASS}": {"password": Secret.of({"env": "PASS"})},
    "ansible_password: \"{{ lookup('env', 'QNEXT_TEST_LOOKUP') }}\"": {"password": Secret.of("seen")},
    "ansible_become: true": {"become": True},
    "ansible_become: yes": {"become": True},
    "ansible_become: 'on'": {"become": True},
    "ansible_become: no": {"become": False},
    'ansible_become: "{{ 1 == 1 }}"': {"become": True},
    "ansible_become_method: sudo, ansible_become_user: root": {},
    "ansible_become_password: {file: /p}": {"become_password": Secret.of({"file": "/p"})},
    "ansible_sudo_pass: s3cret-word": {"become_password": Secret.of("s3cret-word")},
    "ansible_connection: local": {"kind": "local"},
    "ansible_connection: ansible.builtin.ssh": {"kind": "ssh"},
    "ansible_connection: paramiko": {"kind": "ssh"},
    "ansible_host_key_checking: false": {"host_key_policy": "off"},
    "ansible_ssh_host_key_checking: no": {"host_key_policy": "off"},
    "ansible_host_key_checking: true": {},
    "ansible_timeout: 7": {"connect_timeout": 7.0},
    "ansible_ssh_common_args: -J gate": {"jump": (Connection(host="gate"),)},
    "ansible_ssh_extra_args: -o Port=7": {"port": 7},
    # Ansible puts the variables before common and extra arguments, and after ansible_ssh_args; ssh takes the first.
    "ansible_port: 1, ansible_ssh_common_args: -p 2, ansible_ssh_extra_args: -p 3": {"port": 1},
    "ansible_ssh_common_args: -p 2, ansible_ssh_extra_args: -p 3": {"port": 2},
    "ansible_ssh_args: -p 4, ansible_port: 1": {"port": 4},
    "ansible_host_key_checking: false, ansible_ssh_common_args: -o StrictHostKeyChecking=yes": {
        "host_key_policy": "off"
    },
}


@pytest.mark.parametrize("variables", REACHED)
def test_a_host_is_reached_as_its_variables_say(variables: str, loaded: Loaded) -> None:
    found = loaded(inventory_of(variables)).hosts[0].connection
    assert found == Connection(**{"host": "n1", **REACHED[variables]})


def test_a_port_in_the_name_is_the_port(loaded: Loaded) -> None:
    (host,) = loaded(inventory_of("", host="n1:2222")).hosts
    assert (host.name, host.connection.host, host.connection.port) == ("n1", "n1", 2222)


WRONG = {
    "ansible_port: 99999": ("5:24", "ansible_port: a port is a number from 1 to 65535, not '99999'"),
    "ansible_port: [1]": ("5:24", "ansible_port: expected a text, not a list"),
    "ansible_host: {a: 1}": ("5:24", "ansible_host: expected a text, not a mapping"),
    "ansible_become: maybe": ("5:26", "ansible_become: expected true or false, not the text 'maybe'"),
    "ansible_become_method: su": ("5:33", "ansible_become_method: 'su' is not supported"),
    "ansible_become_user: ops": ("5:31", "ansible_become_user: containers are run by root, not by 'ops'"),
    "ansible_connection: winrm": ("5:30", "ansible_connection: 'winrm' cannot be used here"),
    "ansible_ssh_common_args: -J": ("5:35", "ansible_ssh_common_args: option -J of ssh needs a value"),
    "ansible_ssh_common_args: -o Port=x": ("5:35", "ansible_ssh_common_args: a port is a number"),
    "ansible_password: {evn: X}": ("5:28", "ansible_password: a text, {env: NAME}"),
    "ansible_timeout: soon": ("5:27", "ansible_timeout: ConnectTimeout is a number of seconds"),
    "ansible_ssh_private_key: x": ("5:35", "ansible_ssh_private_key: keys are read from files only"),
    'ansible_host: "{{ nothing }}"': ("5:24", "'nothing' is not defined"),
    'ansible_host: "{{ ansible_host }}"': ("5:24", "refers to itself"),
    "ansible_password: \"{{ lookup('pipe', 'x') }}\"": ("5:28", "lookup('pipe', …) is not known here"),
}


@pytest.mark.parametrize("variables", WRONG)
def test_what_is_wrong_is_an_error_at_its_place(variables: str, loaded: Loaded) -> None:
    place, message = WRONG[variables]
    with pytest.raises(ConfigError) as caught:
        loaded(inventory_of(variables))
    assert message in caught.value.message
    assert str(caught.value.where).endswith(f"cluster.yaml:{place}")
    assert not caught.value.others


def test_all_that_is_wrong_is_reported(loaded: Loaded) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(inventory_of("ansible_port: 0, ansible_become: maybe, ansible_connection: winrm, ansible_timeout: x"))
    assert len(caught.value.others) == 3


def test_what_has_no_effect_is_a_warning_with_its_place(loaded: Loaded) -> None:
    text = inventory_of("ansible_ssh_common_args: -o Ciphers=x, ansible_become_flags: -H, ansible_usr: me, qnxt: 1")
    warnings = loaded(text).warnings
    assert len(warnings) == 4
    assert all("cluster.yaml:5:" in warning for warning in warnings)
    for said in ("option ciphers has no effect", "ansible_become_flags has no effect", "'ansible_user'?", "'qnext'?"):
        assert any(said in warning for warning in warnings), said


@pytest.mark.parametrize(
    "name", ["ansible_python_interpreter", "ansible_scp_extra_args", "ansible_ssh_pipelining", "ansible_user", "users"]
)
def test_ansibles_other_variables_are_left_alone(name: str) -> None:
    assert misspelt(name) is None
