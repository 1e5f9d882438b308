"""The SSH side of a node: real protocol and shell, the node's own file system, connections that break on demand."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from provision.clock import monotonic
from provision.rehearsal.cluster import ClusterInfo
from provision.rehearsal.faults import clear_fault, clear_faults, fault, set_fault
from tests.rehearsal.conftest import Done, ssh, until

pytestmark = pytest.mark.rehearsal


@pytest.fixture(autouse=True)
def _mended(cluster: ClusterInfo) -> Iterator[None]:
    """Every test begins and ends with healthy nodes."""
    yield
    for node in cluster.nodes:
        clear_faults(cluster.folder, node)


def root(cluster: ClusterInfo, node: str = "node1") -> Path:
    return cluster.folder / "nodes" / node / "root"


def test_a_login_sees_an_atlas_server(cluster: ClusterInfo) -> None:
    done = ssh(
        cluster,
        "id -u; uname -m; hostname; pwd; ls /dev/davinci* | wc -l; command -v npu-smi; . /etc/os-release; echo $ID",
    )
    assert done == Done(0, "0\naarch64\nnode1\n/root\n17\n/usr/local/bin/npu-smi\nopenEuler\n", "")
    address = cluster.addresses[0]
    assert ssh(cluster, "echo $SSH_CONNECTION").out.split()[2:] == [address, str(cluster.port)]
    assert ssh(cluster, "ip -o -4 addr show dev eth0").out.split()[3] == f"{address}/24"
    assert ssh(cluster, "getent hosts $(hostname)").out.split()[0] == address


def test_a_script_on_standard_input(cluster: ClusterInfo) -> None:
    script = (
        b"d=/var/lib/qnext/t\nmkdir -p $d\nprintf 'a\\0b' >$d/f\nwc -c </var/lib/qnext/t/f\necho oops >&2\nexit 3\n"
    )
    done = ssh(cluster, "exec sh -s", stdin=script)
    assert (done.exit, done.out.strip(), done.err) == (3, "3", "oops\n")
    assert (root(cluster) / "var/lib/qnext/t/f").read_bytes() == b"a\0b"
    assert not os.path.exists("/var/lib/qnext/t")


@pytest.mark.parametrize(
    "command", ["sh -s", "sh", "/bin/sh -s", "sudo -n sh -s", "setsid sh -s", "sh -c 'exec sh -s'"]
)
def test_however_the_shell_is_called(cluster: ClusterInfo, command: str) -> None:
    assert (
        ssh(cluster, command, stdin=b"cat /etc/hostname; head -n 1 /etc/hccn.conf").out
        == "node1\naddress_0=29.1.112.10\n"
    )


def test_a_shell_in_a_shell_and_files_of_shell(cluster: ClusterInfo) -> None:
    ssh(cluster, "sh -s", stdin=b"cat >/tmp/x.sh <<'EOF'\n#!/bin/sh\ncat /etc/hostname $1\nEOF\nchmod 755 /tmp/x.sh\n")
    assert ssh(cluster, "sh /tmp/x.sh /etc/hostname").out == "node1\nnode1\n"
    assert ssh(cluster, "echo 'cat /etc/hostname' | sh").out == "node1\n"
    nested = b"t=$(printf 'Y2F0IC9ldGMvaG9zdG5hbWU=' | base64 -d); sh -c \"$t\"; timeout 5 sh -c 'cat /etc/hostname'\n"
    assert ssh(cluster, "sh -s", stdin=nested).out == "node1\nnode1\n"


def test_content_on_its_way_is_not_touched(cluster: ClusterInfo) -> None:
    content = b"/etc/hosts \0\xff\n#!/bin/sh\ncat /data/x\n" * 3000
    assert ssh(cluster, "cat >/tmp/blob; wc -c </tmp/blob", stdin=content).out.strip() == str(len(content))
    assert (root(cluster) / "tmp/blob").read_bytes() == content
    assert ssh(cluster, "cat /tmp/blob").out.encode("utf-8", "surrogateescape") == content


def test_the_machine_is_out_of_reach(cluster: ClusterInfo) -> None:
    assert ssh(cluster, "ls /; command -v python3 git gcc; ls /home").out.find("sudoer") > 0
    assert (
        str(cluster.folder)
        not in ssh(cluster, "pwd; echo $HOME; ls -d /etc/*; mktemp; cat /proc/mounts; env | grep -v QNEXT").out
    )


def test_users_and_sudo(cluster: ClusterInfo) -> None:
    assert ssh(cluster, "id -un; id -u", user="operator").out == "operator\n1000\n"
    assert ssh(cluster, "sudo -n id -u", user="deploy").out == "0\n"
    denied = ssh(cluster, "sudo -n id -u", user="operator")
    assert (denied.exit, denied.err) == (1, "sudo: a password is required\n")
    said = ssh(cluster, "sudo -S -p '' sh -s", stdin=b"rehearsal\nid -u\ncat /etc/hostname\n", user="sudoer")
    assert (said.exit, said.out) == (0, "0\nnode1\n")
    wrong = ssh(cluster, "sudo -S -p '' id", stdin=b"a\nb\nc\n", user="sudoer")
    assert (wrong.exit, wrong.err.splitlines()[-1]) == (1, "sudo: 3 incorrect password attempts")
    refused = ssh(cluster, "sudo -S -p '' id", stdin=b"rehearsal\n", user="operator")
    assert (refused.exit, refused.err) == (1, "operator is not in the sudoers file.\n")
    with fault(cluster.folder, "node1", "sudo/missing"):
        assert ssh(cluster, "sudo -n true", user="deploy").exit == 127


def test_who_may_log_in(cluster: ClusterInfo) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        ssh(cluster, "true", key="stranger_ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        ssh(cluster, "true", user="nobody")


def test_host_keys(cluster: ClusterInfo) -> None:
    with fault(cluster.folder, "node2", "ssh/host_key", "changed"), pytest.raises(asyncssh.HostKeyNotVerifiable):
        ssh(cluster, "true", node=1)
    assert ssh(cluster, "true", node=1).exit == 0


def test_a_stopped_sshd_refuses(cluster: ClusterInfo) -> None:
    with fault(cluster.folder, "node2", "ssh/stopped"):
        with pytest.raises(ConnectionRefusedError):
            ssh(cluster, "true", node=1)
        assert ssh(cluster, "true").exit == 0
    assert ssh(cluster, "true", node=1).exit == 0


def test_a_connection_breaks_and_the_command_goes_on(cluster: ClusterInfo) -> None:
    set_fault(cluster.folder, "node1", "ssh/drop_at", "cut me here")
    with pytest.raises((asyncssh.ConnectionLost, asyncssh.DisconnectError, OSError)):
        ssh(
            cluster, "sh -s", stdin=b"( sleep 0.3; echo done >/tmp/went-on ) >/dev/null 2>&1 & # cut me here\nsleep 1\n"
        )
    until(lambda: (root(cluster) / "tmp/went-on").exists(), "the command goes on")
    assert ssh(cluster, "cat /tmp/went-on").out == "done\n"


def test_a_connection_breaks_after_so_much(cluster: ClusterInfo) -> None:
    set_fault(cluster.folder, "node1", "ssh/drop_after_bytes", "1000")
    with pytest.raises((asyncssh.ConnectionLost, asyncssh.DisconnectError, OSError)):
        ssh(cluster, "head -c 100000 /dev/zero; sleep 5")
    assert ssh(cluster, "true").exit == 0
    set_fault(cluster.folder, "node1", "ssh/drop_after_execs", "2")
    assert ssh(cluster, "true").exit == 0
    ssh_or_lost(cluster, "true")
    assert ssh(cluster, "true").exit == 0
    assert not (cluster.folder / "nodes/node1/state/ssh/drop_after_execs").exists()


def ssh_or_lost(cluster: ClusterInfo, command: str) -> None:
    try:
        ssh(cluster, command)
    except (asyncssh.Error, OSError):
        return


def test_a_full_disk(cluster: ClusterInfo) -> None:
    with fault(cluster.folder, "node1", "disk/full"):
        assert ssh(cluster, "df -P -k /data | tail -n 1").out.split()[3] == "0"
        done = ssh(cluster, "sh -s", stdin=b"cat /etc/hosts >/tmp/full || echo failed\n")
        assert "failed" in done.out
        assert "No space left on device" in done.err
    assert ssh(cluster, "echo x >/tmp/full && cat /tmp/full").out == "x\n"


def test_a_skewed_clock(cluster: ClusterInfo) -> None:
    with fault(cluster.folder, "node1", "clock/skew", "300"):
        skewed = int(ssh(cluster, "date +%s").out)
    assert 298 <= skewed - int(ssh(cluster, "date +%s").out) <= 301


def test_a_port_taken_by_somebody(cluster: ClusterInfo) -> None:
    with fault(cluster.folder, "node1", "port/8000", "taken"):
        with socket.create_connection((cluster.addresses[0], 8000), timeout=2):
            pass
        assert ":1F40 " in ssh(cluster, "cat /proc/net/tcp").out
        assert ":8000 " in ssh(cluster, "ss -ltnp").out
        assert ":8000 " not in ssh(cluster, "ss -ltnp", node=1).out
    assert ":8000 " not in ssh(cluster, "ss -ltnp").out


def test_forwarding_reaches_the_nodes_own_ports(cluster: ClusterInfo) -> None:
    async def call(host: str, port: int) -> bytes:
        async with asyncssh.connect(
            cluster.addresses[0], cluster.port, username="root", known_hosts=str(cluster.known_hosts),
            client_keys=[str(cluster.key)], config=None, agent_path=None,
        ) as connection:  # fmt: skip
            reader, writer = await connection.open_connection(host, port, encoding=None)
            data = await reader.read(4)
            writer.close()
            return bytes(data)

    for host in ("127.0.0.1", "localhost", cluster.addresses[0], cluster.addresses[1]):
        assert asyncio.run(call(host, cluster.port)) == b"SSH-"
    with pytest.raises(asyncssh.ChannelOpenError):
        asyncio.run(call("127.0.0.1", 9))


def test_sftp_is_confined_to_the_node(cluster: ClusterInfo) -> None:
    async def call() -> tuple[object, list[str]]:
        async with asyncssh.connect(
            cluster.addresses[0], cluster.port, username="root", known_hosts=str(cluster.known_hosts),
            client_keys=[str(cluster.key)], config=None, agent_path=None,
        ) as connection, connection.start_sftp_client() as sftp:  # fmt: skip
            async with sftp.open("/tmp/by-sftp", "wb") as file:
                await file.write(b"/etc/x")
            async with sftp.open("/etc/hostname", "rb") as file:
                content: object = await file.read()
            return content, list(map(str, await sftp.listdir("/home")))

    name, homes = asyncio.run(call())
    assert name == b"node1\n"
    assert "operator" in homes
    assert (root(cluster) / "tmp/by-sftp").read_bytes() == b"/etc/x"


def test_background_processes_hold_the_channel_as_with_sshd(cluster: ClusterInfo) -> None:
    began = monotonic()
    assert ssh(cluster, "sleep 1 & echo x").out == "x\n"
    assert monotonic() - began >= 1
    began = monotonic()
    ssh(cluster, "sleep 5 >/dev/null 2>&1 </dev/null & echo x")
    assert monotonic() - began < 4


def test_clearing_what_is_not_set_is_fine(cluster: ClusterInfo) -> None:
    clear_fault(cluster.folder, "node1", "npu/1/link")


def test_a_password_instead_of_a_key(cluster: ClusterInfo) -> None:
    async def login(password: str) -> str:
        async with asyncssh.connect(
            cluster.addresses[0], cluster.port, username="root", password=password, client_keys=None, config=None,
            known_hosts=str(cluster.known_hosts), agent_path=None,
        ) as connection:  # fmt: skip
            return str((await connection.run("hostname")).stdout)

    with fault(cluster.folder, "node1", "ssh/password", "open sesame"):
        assert asyncio.run(login("open sesame")) == "node1\n"
        with pytest.raises(asyncssh.PermissionDenied):
            asyncio.run(login("wrong"))


def test_all_connections_break_now(cluster: ClusterInfo) -> None:
    async def call() -> None:
        async with asyncssh.connect(
            cluster.addresses[0], cluster.port, username="root", known_hosts=str(cluster.known_hosts),
            client_keys=[str(cluster.folder / "keys" / "id_ed25519")], config=None, agent_path=None,
        ) as connection:  # fmt: skip
            process = await connection.create_process("echo begun; sleep 5")
            assert await process.stdout.readline() == "begun\n"
            await asyncio.to_thread(set_fault, cluster.folder, "node1", "ssh/drop_now", "1")
            await asyncio.wait_for(connection.wait_closed(), 3)

    asyncio.run(call())
    assert ssh(cluster, "true").exit == 0


def test_forwarding_may_be_forbidden(cluster: ClusterInfo) -> None:
    async def call() -> None:
        async with asyncssh.connect(
            cluster.addresses[0], cluster.port, username="root", known_hosts=str(cluster.known_hosts),
            client_keys=[str(cluster.folder / "keys" / "id_ed25519")], config=None, agent_path=None,
        ) as connection:  # fmt: skip
            await connection.open_connection("127.0.0.1", 1)

    with pytest.raises(asyncssh.ChannelOpenError, match="Connect call failed"):
        asyncio.run(call())
    with fault(cluster.folder, "node1", "ssh/forwarding", "refused"):
        with pytest.raises(asyncssh.ChannelOpenError, match="open failed") as refusal:
            asyncio.run(call())
        assert refusal.value.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
