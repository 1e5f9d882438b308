"""Which server, user and key a connection means, with the operator's ssh config applied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.inventory.model import Connection
from provision.secrets import Secret
from provision.transport.target import Target, resolve

Options = Mapping[str, str | list[str]]


def target(connection: Connection, **config: Options) -> Target:
    return resolve(connection, lambda host: config.get(host, {}))


def test_defaults_are_opensshs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOGNAME", "me")
    got = target(Connection(host="n"))
    assert (got.host, got.port, got.user, got.policy, got.timeout) == ("n", 22, "me", "strict", 10.0)
    assert got.known_hosts[0] == f"{tmp_path}/.ssh/known_hosts"
    assert "/etc/ssh/ssh_known_hosts" in got.known_hosts
    assert (got.keys, got.explicit, got.agent, got.via, got.proxy_command) == ((), False, True, None, None)


def test_the_ssh_config_fills_in_what_the_inventory_leaves_open() -> None:
    n: Options = {
        "hostname": "10.1.1.1",
        "port": "2200",
        "user": "ops",
        "identityfile": ["/k/one", "/k/two"],
        "userknownhostsfile": "/kh/a /kh/b",
        "stricthostkeychecking": "accept-new",
        "hostkeyalias": "alias",
        "connecttimeout": "3",
        "identitiesonly": "yes",
    }
    got = target(Connection(host="n"), n=n)
    assert (got.host, got.port, got.user, got.timeout, got.policy) == ("10.1.1.1", 2200, "ops", 3.0, "accept-new")
    assert (got.keys, got.explicit, got.agent) == (("/k/one", "/k/two"), True, False)
    assert got.known_hosts[:2] == ("/kh/a", "/kh/b")
    assert got.key_names == ("alias",)


def test_the_inventory_comes_before_the_ssh_config() -> None:
    n: Options = {
        "port": "1",
        "user": "u",
        "identityfile": ["/k"],
        "stricthostkeychecking": "no",
        "connecttimeout": "1",
    }
    said = Connection(
        host="n",
        port=2,
        user="w",
        key_file="/mine",
        host_key_policy="strict",
        connect_timeout=2.0,
        known_hosts=("/kh",),
    )
    got = target(said, n=n)
    assert (got.port, got.user, got.keys, got.policy, got.timeout) == (2, "w", ("/mine",), "strict", 2.0)
    assert got.known_hosts[0] == "/kh"


@pytest.mark.parametrize(
    ("word", "policy"),
    [("yes", "strict"), ("ask", "strict"), ("no", "off"), ("off", "off"), ("accept-new", "accept-new")],
)
def test_strict_host_key_checking(word: str, policy: str) -> None:
    assert target(Connection(host="n"), n={"stricthostkeychecking": word}).policy == policy


def test_a_password_alone_asks_neither_keys_nor_agent() -> None:
    got = target(Connection(host="n", password=Secret.of("pw")))
    assert (got.keys, got.agent) == ((), False)


def test_jump_hosts_in_order_with_the_targets_key_but_not_its_user() -> None:
    hops = (Connection(host="outer", user="jump"), Connection(host="inner", port=2222))
    got = target(
        Connection(host="n", user="root", key_file="/k", jump=hops), inner={"user": "in", "hostname": "10.9.9.9"}
    )
    assert got.via is not None
    assert (got.via.host, got.via.port, got.via.user, got.via.keys) == ("10.9.9.9", 2222, "in", ("/k",))
    assert got.via.via is not None
    assert (got.via.via.host, got.via.via.user, got.via.via.via) == ("outer", "jump", None)


@pytest.mark.parametrize(
    ("word", "host", "port", "user"),
    [
        ("gate", "gate", 22, None),
        ("me@gate:2200", "gate", 2200, "me"),
        ("ssh://me@gate:2200", "gate", 2200, "me"),
        ("[fe80::1]:2200", "fe80::1", 2200, None),
    ],
)
def test_proxy_jump_of_the_ssh_config(word: str, host: str, port: int, user: str | None) -> None:
    via = target(Connection(host="n"), n={"proxyjump": word}).via
    assert via is not None
    assert (via.host, via.port) == (host, port)
    assert user is None or via.user == user


def test_the_inventory_can_say_directly() -> None:
    got = target(Connection(host="n", jump=()), n={"proxyjump": "gate", "proxycommand": "nc"})
    assert (got.via, got.proxy_command) == (None, None)


def test_a_proxy_command_with_its_tokens() -> None:
    got = target(
        Connection(host="n", port=2, user="u", proxy_command="relay %h:%p %r 100%% %x"), n={"hostname": "real"}
    )
    assert got.proxy_command == "relay real:2 u 100% %x"


def test_jump_hosts_that_lead_round_in_a_circle_are_refused() -> None:
    with pytest.raises(ConfigError, match="jump hosts"):
        target(Connection(host="a"), a={"proxyjump": "b"}, b={"proxyjump": "a"})


def test_hosts_behind_the_same_jump_host_share_it() -> None:
    one, two = (target(Connection(host=h, key_file="/k", jump=(Connection(host="gate"),))) for h in ("a", "b"))
    assert one.via == two.via
