"""up, status, down: a background cluster that leaves nothing behind, even when it crashed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.inventory.load import load
from provision.rehearsal import addresses
from provision.rehearsal.cluster import _marked, create, down, running, status, up
from provision.rehearsal.faults import FAULTS, faults_of, set_fault
from provision.rehearsal.layout import MODEL
from provision.rehearsal.standins.process import server_pid
from tests.rehearsal.conftest import IMAGE, alive, ssh, until

pytestmark = pytest.mark.rehearsal


def test_up_status_down(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    cluster = up(folder, 2, "a2")
    try:
        assert up(folder) == cluster
        assert ssh(cluster, "hostname", node=1).out == "node2\n"
        ssh(cluster, f"docker run -d --name x --label l=1 {IMAGE.removesuffix('-a3')} sleep 600")
        ssh(cluster, "setsid sleep 600 >/dev/null 2>&1 </dev/null &")
        set_fault(folder, "node2", "npu/1/link", "DOWN")
        first, second = status(folder)
        assert (first.accepting, first.hardware, first.containers, first.execs) == (True, "atlas-800-a2", ("x",), 2)
        assert second.faults == ("npu/1/link = DOWN",)
        left = _marked(folder)
        assert len(left) >= 4
    finally:
        down(folder)
    assert not folder.exists()
    assert not [pid for pid in left if alive(pid)]
    down(folder)


def test_a_crashed_server_is_cleaned_up_and_can_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    cluster = up(folder, 1, "a3")
    try:
        ssh(cluster, "echo kept >/data/kept; setsid sleep 600 >/dev/null 2>&1 </dev/null &")
        os.kill(server_pid(folder), signal.SIGKILL)
        until(lambda: not server_pid(folder), "the server is gone")
        assert not status(folder)[0].accepting
        again = up(folder)
        assert again == cluster
        assert ssh(again, "cat /data/kept").out == "kept\n"
        os.kill(server_pid(folder), signal.SIGKILL)
    finally:
        down(folder)
    assert not folder.exists()
    assert not _marked(folder)


def test_the_inventory_is_one_of_ours(tmp_path: Path) -> None:
    for hardware, nodes, tp, dp in (("a3", 2, 4, 8), ("a2", 2, 4, 4), ("a3", 1, 4, 1), ("cpu", 2, 1, 2)):
        folder = tmp_path / f"{hardware}{nodes}"
        create(folder, nodes, hardware, port=2222, cluster="rehearsal")
        inventory = load(folder / "cluster.yaml")
        addresses.release(folder)
        settings = inventory.settings
        assert [h.name for h in inventory.hosts] == [f"node{k}" for k in range(1, nodes + 1)]
        assert (settings.serve.tensor_parallel_size, settings.serve.data_parallel_size) == (tp, dp)
        assert settings.serve.topology == ("data-parallel" if nodes > 1 else "single")
        assert settings.model.path == MODEL
        assert settings.install.image.endswith("-a3") == (hardware == "a3")
        connection = inventory.hosts[0].connection
        assert (connection.user, connection.port, connection.host_key_policy) == ("root", 2222, "strict")
        assert connection.known_hosts == (str(folder / "known_hosts"),)


def test_two_clusters_do_not_meet(tmp_path: Path) -> None:
    with running(tmp_path / "a", 1, "a3") as first, running(tmp_path / "b", 1, "a3") as second:
        assert first.addresses != second.addresses
        assert ssh(first, "true").exit == ssh(second, "true").exit == 0


def test_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(UsageError, match="is not empty"):
        up(tmp_path / "used")
    with pytest.raises(UsageError, match="unknown hardware"):
        up(tmp_path / "x", 1, "h100")
    with pytest.raises(UsageError, match="cannot live in"):
        up(tmp_path / "my folder")
    with pytest.raises(UsageError, match="no rehearsal cluster"):
        status(tmp_path / "none")
    assert (tmp_path / "used" / "file").exists()
    create(tmp_path / "c", 1, "a3", port=2222, cluster="c")
    addresses.release(tmp_path / "c")
    with pytest.raises(UsageError, match="no such fault: npu/x/y/z"):
        set_fault(tmp_path / "c", "node1", "npu/x/y/z", "1")
    with pytest.raises(UsageError, match="no rehearsal node node7"):
        set_fault(tmp_path / "c", "node7", "npu/1/link", "DOWN")
    assert faults_of(tmp_path / "c", "node1") == {}


def test_down_takes_nothing_that_is_not_its_own(tmp_path: Path) -> None:
    create(tmp_path / "c", 1, "a3", port=2222, cluster="c")
    (tmp_path / "c" / "notes").touch()
    down(tmp_path / "c")
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["notes"]


def test_every_fault_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    assert [fault.key for fault in FAULTS if f"`{fault.key}`" not in text] == []
