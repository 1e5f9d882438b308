"""Who holds NPUs: named with its dies, its age and what would release them, each holder once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provision.accel.ascend.npu_smi import NpuProcess
from provision.checks import runner
from provision.checks.policy import Choice
from provision.facts.docker import ContainersValue
from provision.facts.npu_smi import Holder

from .ills import busy, dies, foreign_container, our_server
from .world import FakeNode, foreign, healthy, ours, settings

BOX = "c" * 64


def found(node: Any, make_ill: Callable[[FakeNode], object]) -> list[Any]:
    make_ill(node)
    (outcome,) = runner.run_node(node, Choice(only=("N09",)))
    return list(outcome.findings)


def held(node: FakeNode, *holders: Holder, row: dict[str, Any] | None = None) -> None:
    """A process on a die each, from 0 on."""
    rows = tuple(NpuProcess(n // 2, n % 2, h.pid, "python3.1", 43000, **row or {}) for n, h in enumerate(holders))
    node.alter("npu-smi", processes=rows, holders=holders)


def unseen(node: FakeNode) -> None:
    row = NpuProcess(1, 1, 77, "", None, container_pid=12)
    node.alter("npu-smi", processes=(row,), holders=())


def other_clusters(node: FakeNode) -> None:
    two = (foreign(devices=(0, 1), cluster="demo"), replace(foreign(devices=(2, 3), cluster="demo"), id=BOX, name="w"))
    node.facts["containers"] = ContainersValue(foreign=two, reachable=True)


CASES: dict[str, tuple[Callable[[FakeNode], object], str, str]] = {
    "a container with its process": (
        lambda n: (foreign_container(n), busy(n, container="b" * 64, age=7500)),
        "container other has davinci 0-1 (NPU 0): other:1, since 2026-11-24 06:00 UTC; "
        "pid 4242 (python3 train.py) of root, 2 h old, 59000 MB on each",
        "ask its owner first; `docker stop other` would release them; or give this cluster others: qnext.devices: [2,",
    ),
    "a container that has not begun": (
        lambda n: n.facts.update(containers=ContainersValue(foreign=(foreign(devices=(5,)),), reachable=True)),
        "container other has davinci 5 (NPU 2 chip 1): other:1, since 2026-11-24 06:00 UTC, no process on them yet",
        "ask its owner first; `docker stop other`",
    ),
    "a pod": (
        lambda n: n.facts.update(
            containers=ContainersValue(foreign=(foreign(devices=(5,), pod="team/train-0"),), reachable=True)
        ),
        "container other of pod team/train-0 has davinci 5",
        "ask its owner first; `kubectl delete pod -n team train-0` would release them",
    ),
    "a privileged container that uses some": (
        lambda n: (
            busy(n, container="b" * 64),
            n.facts.update(containers=ContainersValue(foreign=(foreign(privileged=True),), reachable=True)),
        ),
        "container other has davinci 0-1 (NPU 0): other:1",
        "ask its owner first; `docker stop other`",
    ),
    "another cluster of ours, told once": (
        other_clusters,
        "cluster demo of this tool has davinci 0-3 (NPU 0-1): container other, w, since 2026-11-24",
        "ask its owner first; `qnext-provision down -i` with the inventory of cluster demo would release them",
    ),
    "a job of several processes": (
        lambda n: held(n, *(Holder(pid, "ann", f"python3 train.py --rank {pid}", age=90) for pid in (10, 11, 12))),
        "process 10 (python3 train.py --rank 10) of ann and 2 more like it uses davinci 0-2 (NPU 0-1), 90 s old",
        "ask its owner first (`ps -fp 10,11,12`); `kill 10 11 12` would release them; or",
    ),
    "a service": (
        lambda n: held(n, Holder(10, "ann", "python3 serve.py", unit="serve.service")),
        "process 10 (python3 serve.py) of ann under serve.service uses davinci 0 (NPU 0 chip 0), 43000 MB",
        "`kill 10` would release them (serve.service may start it again: `systemctl status serve.service`)",
    ),
    "a container that docker does not know": (
        lambda n: held(n, Holder(10, "root", "python3", BOX, runtime="containerd")),
        "process 10 (python3) of root in containerd container cccccccccccc uses davinci 0",
        f"ask its owner first; `nerdctl stop {BOX[:12]}` would release them",
    ),
    "a kubelet's container": (
        lambda n: held(n, Holder(10, "root", "python3", BOX, runtime="kubernetes")),
        "process 10 (python3) of root in kubernetes container cccccccccccc uses davinci 0",
        f"ask its owner first: `crictl ps --id {BOX[:12]}` names its pod",
    ),
    "a process of another pid namespace": (
        unseen,
        "process 77 (name not told) uses davinci 3 (NPU 1 chip 1)",
        "there is no /proc/77 on the node (pid 12 in its container): it runs in another pid namespace or has ended",
    ),
    "a zombie": (
        lambda n: held(n, Holder(10, "ann", "", state="Z", parent=9)),
        "process 10 (python3.1) of ann uses davinci 0 (NPU 0 chip 0), 43000 MB, a zombie",
        "it has ended and cannot be killed: its parent (pid 9) must notice, or end: `ps -fp 9`",
    ),
    "one that waits inside the kernel": (
        lambda n: held(n, Holder(10, "ann", "python3", state="D")),
        "process 10 (python3) of ann",
        "`kill 10` would release them (it waits inside the kernel: it may not end before a reboot)",
    ),
    "memory that nobody has": (
        lambda n: dies(n, 6, 7, hbm_used_mb=10568),
        "davinci 6-7 (NPU 3): memory is in use and no process is shown",
        "wait a minute after a stop",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_holder_is_named_once_with_what_would_release_it(name: str) -> None:
    make_ill, summary, remedy = CASES[name]
    (finding,) = found(healthy(), make_ill)
    assert finding.summary.startswith(summary)
    assert remedy in finding.remedy
    assert (finding.level, finding.fix) == ("fail", "")


def test_holders_of_their_own_are_told_each() -> None:
    node = healthy()
    held(node, Holder(10, "ann", "python3 a.py"), Holder(11, "bob", "python3 a.py"), Holder(12, "ann", "bash b.sh"))
    assert [f.observed.split(",")[0] for f in found(node, lambda n: None)] == ["pid 10", "pid 11", "pid 12"]


def test_a_stranger_beside_our_own_server_is_told() -> None:
    node = healthy()
    our_server(node)
    rows = (*node.facts["npu-smi"].processes, NpuProcess(3, 0, 99, "python3", 100))
    node.alter("npu-smi", processes=rows, holders=(*node.facts["npu-smi"].holders, Holder(99, "ann", "python3 x.py")))
    (finding,) = found(node, lambda n: None)
    assert finding.summary.startswith("process 99 (python3 x.py) of ann uses davinci 6 (NPU 3 chip 0), 100 MB")


def test_dies_that_this_cluster_may_not_use_are_nobodys_business() -> None:
    node = healthy(0, settings(devices=tuple(range(8, 16))))
    assert found(node, foreign_container) == []


def test_our_container_that_ended_holds_nothing() -> None:
    node = healthy()
    node.facts["containers"] = ContainersValue((ours("exited", devices=(0, 1)),), reachable=True)
    (finding,) = found(node, lambda n: dies(n, 0, hbm_used_mb=30000))
    assert finding.summary.startswith("davinci 0 (NPU 0 chip 0): memory is in use")


@pytest.mark.parametrize(("used", "told"), [(2930, False), (3900, False), (4100, True)])
def test_an_idle_die_of_32_gb_uses_as_much_as_one_of_64(used: int, told: bool) -> None:
    findings = found(healthy(), lambda n: dies(n, 0, hbm_used_mb=used, hbm_total_mb=32768))
    assert bool(findings) == told
    assert all(finding.expected == "at most 3900 MB used" for finding in findings)
