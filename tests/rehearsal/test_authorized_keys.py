"""From rehearsal node to rehearsal node with the machine's own ssh: what authorized_keys lets whom do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from provision.rehearsal.cluster import ClusterInfo
from provision.rehearsal.faults import fault
from provision.shell import quote
from tests.rehearsal.conftest import Done, ssh

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.skipif(not shutil.which("ssh"), reason="there is no ssh on this machine, so nodes have none either"),
]


class Pair:
    """node2 asks node1, with a key that only node1's own authorized_keys may let in."""

    def __init__(self, cluster: ClusterInfo) -> None:
        self.cluster = cluster
        self.public = (cluster.folder / "keys/stranger_ed25519.pub").read_text().strip()
        host_key = (cluster.folder / "keys/host_node1.pub").read_text().split()
        ssh(cluster, "cat >/root/key && chmod 600 /root/key", node=1, stdin=self._private())
        self._know(f"[{cluster.addresses[0]}]:{cluster.port} {' '.join(host_key[:2])}")

    def _private(self) -> bytes:
        return (self.cluster.folder / "keys/stranger_ed25519").read_bytes()

    def _know(self, line: str) -> None:
        ssh(self.cluster, "cat >/root/known", node=1, stdin=f"{line}\n".encode())

    def let(self, options: str) -> None:
        """The one line of authorized_keys on node1, after one that nobody understands."""
        text = f"who knows\n{options} {self.public}\n".lstrip()
        ssh(self.cluster, "mkdir -p /root/.ssh && cat >/root/.ssh/authorized_keys", stdin=text.encode())

    def ask(self, command: str = "id -un", *options: str, stdin: bytes = b"") -> Done:
        address, own = self.cluster.addresses
        words = " ".join(options)
        return ssh(
            self.cluster,
            f"timeout 3 ssh -F /dev/null -b {own} -i /root/key -o IdentitiesOnly=yes -o BatchMode=yes "
            f"-o ConnectTimeout=5 -o StrictHostKeyChecking=yes -o UserKnownHostsFile=/root/known -o LogLevel=ERROR "
            f"{words} -p {self.cluster.port} root@{address} {command and quote(command)}",
            node=1,
            stdin=stdin,
        )


@pytest.fixture
def pair(cluster: ClusterInfo) -> Iterator[Pair]:
    yield Pair(cluster)
    ssh(cluster, "rm -rf /root/.ssh")


def test_a_stranger_stays_outside(pair: Pair) -> None:
    done = pair.ask()

    assert (done.exit, "Permission denied (publickey" in done.err) == (255, True)


def test_a_key_that_stands_there_lets_in(pair: Pair) -> None:
    pair.let("")

    assert pair.ask("hostname; cat", stdin=b"bytes\0").out == "node1\nbytes\0"


def test_only_from_where_it_may_come(pair: Pair) -> None:
    pair.let(f'from="{pair.cluster.addresses[0]}"')
    assert pair.ask().exit == 255

    pair.let(f'from="{pair.cluster.addresses[0]},{pair.cluster.addresses[1]}"')
    assert pair.ask().out == "root\n"


def test_a_forced_command_is_all_that_runs(pair: Pair) -> None:
    pair.let('restrict,command="cat /etc/ssh/ssh_host_ed25519_key.pub; wc -c"')

    done = pair.ask("id -un", stdin=b"four")

    host_key = (pair.cluster.folder / "keys/host_node1.pub").read_text().split()
    assert done.out == f"{' '.join(host_key)}\n4\n"


@pytest.mark.parametrize(("options", "allowed"), [("restrict", False), ("restrict,port-forwarding", True)])
def test_what_is_restricted_forwards_nothing(pair: Pair, options: str, allowed: bool) -> None:
    pair.let(options)
    address, port = pair.cluster.addresses[0], pair.cluster.port

    done = pair.ask("", "-W", f"{address}:{port}")

    assert done.out.startswith("SSH-2.0-") == allowed, done


def test_the_way_may_be_closed_and_the_host_another(pair: Pair) -> None:
    pair.let("")
    folder = pair.cluster.folder
    with fault(folder, "node2", "tcp/node1", "refused"):
        refused = pair.ask()
    with fault(folder, "node1", "ssh/host_key", "changed"):
        changed = pair.ask()

    address, port = pair.cluster.addresses[0], pair.cluster.port
    assert refused.err == f"ssh: connect to host {address} port {port}: Connection refused\n"
    assert "Host key verification failed." in changed.err
    assert pair.ask().exit == 0
