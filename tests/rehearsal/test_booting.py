"""Booting a rehearsal node, and practice packages: what they change, and when it is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from provision.clock import sleep
from provision.rehearsal.booting import come_up, go_down
from provision.rehearsal.cluster import ClusterInfo
from provision.rehearsal.faults import clear_faults, fault, set_fault
from provision.rehearsal.node import Node
from provision.rehearsal.standins.ascend_package import text
from tests.rehearsal.conftest import Machine, ssh, until
from tests.rehearsal.test_faults import Machines

pytestmark = pytest.mark.rehearsal

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


@pytest.fixture
def a3(machines: Machines) -> Machine:
    return machines(1, "a3", image=None)[0]


@pytest.fixture
def node(cluster: ClusterInfo) -> Iterator[Node]:
    """The first node, which has booted to its end when the test is over."""
    set_fault(cluster.folder, "node1", "boot/seconds", "0.1")
    found = Node(str(cluster.folder / "nodes/node1"))
    yield found
    clear_faults(cluster.folder, "node1")
    until(lambda: not found.state.get("boot/requested"), "the node is up")


def away(cluster: ClusterInfo) -> bool:
    """Whether the node's sshd does not answer."""
    try:
        ssh(cluster, "true")
    except (OSError, asyncssh.Error):
        return True
    return False


def test_a_boot_ends_what_runs_and_is_another_one(cluster: ClusterInfo, node: Node) -> None:
    before = ssh(cluster, BOOT_ID).out
    ssh(cluster, "setsid sleep 300 </dev/null >/dev/null 2>&1 &")

    ssh(cluster, "systemctl reboot")

    until(lambda: not node.state.get("boot/requested"), "the node is up")
    until(lambda: not away(cluster), "its sshd answers")
    assert ssh(cluster, BOOT_ID).out != before
    assert "sleep 300" not in ssh(cluster, "ps -ef").out


def test_a_node_that_ignores_or_never_ends_its_boot(cluster: ClusterInfo, node: Node) -> None:
    before = ssh(cluster, BOOT_ID).out
    with fault(cluster.folder, "node1", "boot/ignored"):
        ssh(cluster, "systemctl reboot")
        until(lambda: not node.state.get("boot/requested"), "the wish is dropped")
    assert ssh(cluster, BOOT_ID).out == before

    with fault(cluster.folder, "node1", "boot/never"):
        ssh(cluster, "systemctl reboot")
        until(lambda: away(cluster), "it is away")
        sleep(0.3)
        assert away(cluster)


def test_what_is_installed_is_loaded_by_a_boot(a3: Machine) -> None:
    set_fault(a3.folder, a3.node.name, "driver/installed", "25.5.2")
    set_fault(a3.folder, a3.node.name, "firmware/installed", "7.8.0.7.201")

    assert "Version=25.5.2" in a3.ok("cat /usr/local/Ascend/driver/version.info")
    assert "Version=7.8.0.7.201" in a3.ok("cat /usr/local/Ascend/firmware/version.info")
    assert "Version: 25.5.1" in a3.ok("npu-smi info")

    go_down(a3.node)
    come_up(a3.node)

    assert "Version: 25.5.2" in a3.ok("npu-smi info")


def package(machine: Machine, kind: str, version: str) -> str:
    path = Path(machine.node.root, "tmp", f"{kind}.run")
    path.write_text(text(kind, version))
    path.chmod(0o755)
    return f"/tmp/{kind}.run"


@pytest.mark.parametrize(
    ("kind", "version", "options", "says"),
    [
        ("driver", "25.5.2", "--full --install-for-all", "installed successfully! Reboot needed"),
        ("driver", "25.5.2", "", "No installation type"),
        ("driver", "25.5.2", "--force", "Unrecognized flag : --force"),
        ("toolkit", "9.0.0", "--install --quiet", "toolkit 8.5.1 is installed: use --upgrade"),
        ("toolkit", "9.0.0", "--upgrade", "license agreement was not accepted"),
        ("ops", "9.0.0", "--install --quiet", "needs toolkit 9.0.0; there is 8.5.1"),
        ("nnal", "8.5.1", "--install --quiet", "ASCEND_TOOLKIT_HOME is not set"),
    ],
)
def test_installers_keep_the_real_ones_rules(a3: Machine, kind: str, version: str, options: str, says: str) -> None:
    done = a3.run(f"{package(a3, kind, version)} {options} </dev/null")

    assert says in done.out
    assert (done.exit == 0) == ("successfully" in says)


def test_what_installers_do_by_faults(a3: Machine) -> None:
    path = package(a3, "driver", "25.5.2")
    set_fault(a3.folder, a3.node.name, "package/driver", "fails")
    assert "install failed" in a3.run(f"{path} --full").out
    set_fault(a3.folder, a3.node.name, "package/driver", "immediate")
    assert "takes effect immediately" in a3.ok(f"{path} --full")
    assert "Version: 25.5.2" in a3.ok("npu-smi info")


def test_a_package_that_was_changed_is_refused(a3: Machine) -> None:
    path = package(a3, "driver", "25.5.2")
    a3.ok(f"sed -i s/25.5.2/25.5.3/ {path}")

    assert a3.run(f"{path} --check").exit == 1
