"""Opening SSH connections, and what can go wrong with them, against OpenSSH and asyncssh."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    Unreachable,
    UsageError,
)
from provision.inventory.model import Connection
from provision.secrets import Secret
from provision.transport import known_hosts
from provision.transport.pool import Pool
from provision.transport.ssh import SSHTransport, config_for
from tests.transport.async_server import PASSWORD
from tests.transport.servers import Door, Relay, host

pytestmark = pytest.mark.rehearsal


@pytest.fixture(params=["openssh", "asyncssh"])
def door(request: pytest.FixtureRequest) -> Door:
    known_hosts.load.cache_clear()
    found: Door = request.getfixturevalue(f"{request.param}_door")
    return found


def refused(door: Door, **changes: Any) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        SSHTransport.open(door.host(**changes))
    assert caught.value.node == "node"
    return caught.value


# ---- host keys


def test_an_unknown_key_is_refused_with_fingerprint_and_remedy(door: Door) -> None:
    error = refused(door, known_hosts=("/nonexistent/known_hosts",))
    assert type(error) is HostKeyUnknown
    assert "SHA256:" in error.message
    assert f"ssh-keyscan -p {door.port}" in error.hint
    assert not error.retryable


def test_a_changed_key_is_refused_with_both_fingerprints_and_the_line(door: Door, tmp_path: Path) -> None:
    (tmp_path / "known").write_text(f"\n[{door.address}]:{door.port} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr2mWkq\n")
    error = refused(door, known_hosts=(str(tmp_path / "known"),), host_key_policy="accept-new")
    assert type(error) is HostKeyChanged
    assert error.message.count("SHA256:") == 2
    assert f"{tmp_path}/known:2" in error.message
    assert "ssh-keygen -R" in error.hint


def test_another_type_of_key_than_the_known_one_is_not_accepted_as_new(door: Door, tmp_path: Path) -> None:
    (tmp_path / "known").write_text(f"[{door.address}]:{door.port} ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCx\n")
    assert type(refused(door, known_hosts=(str(tmp_path / "known"),), host_key_policy="accept-new")) is HostKeyChanged


def test_a_revoked_key_is_refused(door: Door, tmp_path: Path) -> None:
    line = door.known_hosts.read_text().splitlines()[0]
    (tmp_path / "known").write_text(f"{line}\n@revoked * {line.split(' ', 1)[1]}\n")
    error = refused(door, known_hosts=(str(tmp_path / "known"),))
    assert type(error) is HostKeyChanged
    assert "revoked" in error.message


def test_accept_new_writes_the_key_once_and_knows_it_from_then_on(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    for policy in ("accept-new", "accept-new", "strict"):
        SSHTransport.open(door.host(known_hosts=(str(file),), host_key_policy=policy)).close()
    known_hosts.load.cache_clear()
    SSHTransport.open(door.host(known_hosts=(str(file),))).close()
    assert file.read_text().split()[1:] == door.known_hosts.read_text().splitlines()[0].split()[1:]


def test_off_takes_any_key(door: Door) -> None:
    SSHTransport.open(door.host(known_hosts=("/nonexistent",), host_key_policy="off")).close()


# ---- who may come in


def test_a_wrong_key_names_user_key_and_what_the_server_offers(door: Door, tmp_path: Path) -> None:
    import asyncssh

    wrong = asyncssh.generate_private_key("ssh-ed25519")
    wrong.write_private_key(tmp_path / "wrong")
    error = refused(door, key_file=str(tmp_path / "wrong"))
    assert type(error) is AuthenticationFailed
    assert door.user in error.message
    assert f"{tmp_path}/wrong" in error.message
    assert "authorized_keys" in error.hint


def test_a_refusal_names_what_the_server_offers(openssh_door: Door) -> None:
    assert "it offers: publickey)" in refused(openssh_door, user="nobody-here").message


@pytest.mark.parametrize(
    ("content", "word"), [(None, "no such file"), ("rubbish", "no private key"), ("passphrase", "passphrase")]
)
def test_a_key_file_that_cannot_be_used(door: Door, tmp_path: Path, content: str | None, word: str) -> None:
    import asyncssh

    path = tmp_path / "key"
    if content == "passphrase":
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(path, passphrase="secret", rounds=64)
    elif content:
        path.write_text(content)
    error = refused(door, key_file=str(path))
    assert type(error) is AuthenticationFailed
    assert word in error.message
    assert error.hint


def test_a_password(asyncssh_door: Door) -> None:
    right, wrong = Secret.of(PASSWORD), Secret.of("not it")
    SSHTransport.open(asyncssh_door.host(key_file=None, password=right)).close()
    error = refused(asyncssh_door, key_file=None, password=wrong)
    assert type(error) is AuthenticationFailed
    assert "not it" not in error.message + error.hint


def test_no_way_to_log_in_at_all(door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert type(refused(door, key_file=None)) is AuthenticationFailed


# ---- the network


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"port": 1}, "connection refused"), ({"host": "no-such-host.invalid"}, "no-such-host.invalid: ")],
)
def test_why_it_cannot_be_reached(openssh_door: Door, changes: dict[str, Any], word: str) -> None:
    error = refused(openssh_door, **changes)
    assert type(error) is ConnectFailed
    assert word in error.message
    assert error.hint


def test_a_server_that_accepts_and_says_nothing(openssh_door: Door) -> None:
    with Relay(openssh_door) as relay:
        relay.mute = True
        started = time.monotonic()
        error = refused(openssh_door.through(relay.port), connect_timeout=0.5)
    assert time.monotonic() - started < 4
    assert type(error) is ConnectFailed
    assert "within 0.5 s" in error.message


def test_a_server_that_turns_away_twice_is_asked_again(openssh_door: Door) -> None:
    with Relay(openssh_door) as relay:
        relay.turn_away = 2
        there = openssh_door.through(relay.port).host()
        with Pool([there]) as pool:
            assert pool.get(there).run("echo in", deadline=10).stdout == "in\n"
        assert relay.accepted == 3


def test_a_reset_in_the_middle_is_a_lost_connection_and_the_next_use_connects_again(door: Door) -> None:
    with Relay(door) as relay:
        there = door.through(relay.port).host()
        with Pool([there]) as pool:
            node = pool.get(there)
            node.run("true", deadline=10)
            threading.Timer(0.2, relay.reset).start()
            started = time.monotonic()
            with pytest.raises(ConnectionLost) as caught:
                node.run("sleep 20", deadline=30)
            assert time.monotonic() - started < 5
            assert caught.value.node == "node"
            assert node.run("echo again", deadline=10).stdout == "again\n"
            assert pool.counters()["node"].connections == 2


def test_what_only_looks_survives_a_lost_connection(openssh_door: Door, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    with Relay(openssh_door) as relay:
        there = openssh_door.through(relay.port).host()
        with Pool([there]) as pool:
            node = pool.get(there)
            relay.reset()
            assert node.get(str(tmp_path / "file")) == b"content"


def test_a_remote_command_ends_at_its_deadline_though_the_connection_is_gone(
    openssh_door: Door, tmp_path: Path
) -> None:
    with Relay(openssh_door) as relay:
        there = openssh_door.through(relay.port).host()
        with Pool([there]) as pool:
            threading.Timer(0.4, relay.reset).start()
            with pytest.raises(ConnectionLost):
                pool.get(there).run(f"trap '' TERM; sh -c 'echo $$ >{tmp_path}/pid; exec sleep 300'", deadline=1.0)
    pid = (tmp_path / "pid").read_text().strip()
    until = time.monotonic() + 6
    while time.monotonic() < until and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ---- ways around


def test_through_two_jump_hosts_each_verified(openssh_door: Door, asyncssh_door: Door) -> None:
    def hop(door: Door) -> Connection:
        return door.connection()

    there = openssh_door.host(jump=(hop(asyncssh_door), hop(openssh_door)))
    with Pool([there, replace(there, name="second")]) as pool:
        for name in ("node", "second"):
            assert pool.get(name).run("echo inside", deadline=10).stdout == "inside\n"
    unknown = replace(hop(asyncssh_door), known_hosts=("/nonexistent",))
    with Pool([openssh_door.host(jump=(unknown,))]) as pool, pytest.raises(HostKeyUnknown, match="jump host"):
        pool.get("node")


def test_a_jump_host_that_cannot_reach_the_node(openssh_door: Door) -> None:
    there = openssh_door.host(port=1, jump=(openssh_door.connection(),))
    with Pool([there]) as pool, pytest.raises(ConnectFailed, match="jump host cannot reach"):
        pool.get(there)


def test_a_proxy_command(openssh_door: Door, tmp_path: Path) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(
        "import socket, sys, threading, os\n"
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def up():\n"
        "    while d := os.read(0, 65536): s.sendall(d)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(65536): os.write(1, d)\n"
    )
    there = openssh_door.host(proxy_command=f"{sys.executable} {relay} %h %p")
    with Pool([there]) as pool:
        assert pool.get(there).run("echo through", deadline=10).stdout == "through\n"
    broken = openssh_door.host(proxy_command="sh -c 'echo no way >&2; exit 1'")
    with Pool([broken]) as pool, pytest.raises(ConnectFailed, match="no way"):
        pool.get(broken)


# ---- the operator's ssh config


def test_an_ssh_config_with_include(tmp_path: Path) -> None:
    (tmp_path / "more").write_text("Host gate\n  HostName 10.0.0.9\n  Port 2200\n")
    (tmp_path / "config").write_text(f"Host node\n  Include {tmp_path}/more\n  User ops\nHost *\n  ConnectTimeout 4\n")
    look_up = config_for(str(tmp_path / "config"))
    assert look_up("node")["user"] == "ops"
    assert (look_up("gate")["hostname"], look_up("gate")["port"]) == ("10.0.0.9", "2200")
    assert "user" not in look_up("gate")
    assert look_up("gate")["connecttimeout"] == "4"


def test_a_named_ssh_config_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        config_for(str(tmp_path / "absent"))("node")
    assert config_for("none")("node") == {}


def test_many_connections_at_once(openssh_door: Door) -> None:
    from provision.engine.fanout import fan_out

    hosts = {f"n{n}": replace(openssh_door.host(), name=f"n{n}") for n in range(24)}
    with Pool(hosts.values()) as pool:
        answers = fan_out(hosts, lambda there: pool.get(there).run("echo $$", deadline=20).stdout)
        assert len(set(answers.values())) == 24
        assert all(c.connections == 1 and c.execs == 1 for c in pool.counters().values())
        started = time.monotonic()
    assert time.monotonic() - started < 2


def test_a_closed_pool_opens_nothing(openssh_door: Door) -> None:
    there = host(openssh_door.connection())
    pool = Pool([there])
    node = pool.get(there)
    pool.close()
    with pytest.raises(ConnectionLost, match="over"):
        node.run("true", deadline=5)
