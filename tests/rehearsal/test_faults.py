"""Faults as a whole: each has a test that shows its effect, values are checked, and what was broken is whole again."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from provision.clock import monotonic
from provision.errors import ProvisionError, UsageError
from provision.rehearsal.faults import FAULTS, clear_faults, faults_of, set_fault
from tests.rehearsal.conftest import Machine

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]


@pytest.fixture
def a3(machines: Machines) -> Machine:
    return machines(1, "a3", image=None)[0]


@cache
def _texts() -> str:
    """The tests that run against rehearsal nodes."""
    tests = Path(__file__).parents[1]
    folders = (tests / "rehearsal", tests / "scenarios", tests / "checks/proof")
    return "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))


@pytest.mark.parametrize("key", [known.key for known in FAULTS])
def test_every_fault_is_shown_somewhere(key: str) -> None:
    pattern = re.sub(r"<\w+>", r"[\\w.:{}-]+", key)
    assert re.search(rf"[\"']{pattern}[\"']", _texts()), key


BAD = [
    ("npu/3/link", "BROKEN", "npu/3/link cannot be 'BROKEN'", "values are: DOWN"),
    ("clock/skew", "soon", "clock/skew cannot be 'soon'", "values are: seconds"),
    ("limits/nofile", "lots", "cannot be 'lots'", "SOFT"),
    ("tcp/node9", "refused", "no rehearsal node node9", "nodes are: node1"),
    ("npu/1/ping/node9:3", "lost", "no rehearsal node node9", "nodes are: node1"),
    ("npu/1/ping/node1", "slow", "cannot be 'slow'", "slow MS"),
    ("mount/nothing", "missing", "nothing is mounted from nothing", "dcmi"),
    ("container/foreign", "a,b", "cannot be 'a,b'", "DIES"),
    ("no/such", "1", "no such fault: no/such", "npu/<n>/link"),
]


@pytest.mark.parametrize(("key", "value", "words", "hint"), BAD)
def test_what_cannot_be_a_fault_is_refused_with_what_can(
    a3: Machine, key: str, value: str, words: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as refused:
        set_fault(a3.folder, "node1", key, value)
    assert hint in (refused.value.hint or "")
    assert key not in faults_of(a3.folder, "node1")


def test_faults_can_be_set_again_and_are_all_cleared(a3: Machine) -> None:
    before = a3.ok("ls -R /data /dev /etc /run /sys/ /usr/local; cat /etc/hosts /proc/meminfo /proc/mounts")
    for key, value in (
        ("weights/short_shard", "3"), ("weights/short_shard", "4"), ("weights/config", "1"), ("weights/config", "a=1"),
        ("mount/dcmi", "folder"), ("mount/dcmi", "missing"), ("governor", "powersave"), ("governor", "ondemand"),
        ("process/vllm", "1"), ("process/vllm", "other title"), ("npu/7/missing", "1"), ("cann/version", "8.3.RC2"),
        ("cann/version", "9.1.0"), ("nic/eth0/mtu", "9000"), ("firewall", "ufw"), ("swap", "1"), ("thp", "always"),
        ("share/unmounted", "1"), ("weights/missing", "1"),
    ):  # fmt: skip
        set_fault(a3.folder, "node1", key, value)
    clear_faults(a3.folder, "node1")
    assert a3.ok("ls -R /data /dev /etc /run /sys/ /usr/local; cat /etc/hosts /proc/meminfo /proc/mounts") == before
    assert a3.run("ps -eo args | grep -e '^VLLM' -e '^other'").out == ""


def test_a_container_needs_a_docker(a3: Machine) -> None:
    set_fault(a3.folder, "node1", "docker/daemon", "down")
    with pytest.raises(ProvisionError, match="docker run failed on node1"):
        set_fault(a3.folder, "node1", "container/foreign", "0")
    set_fault(a3.folder, "node1", "docker/missing")
    with pytest.raises(ProvisionError, match="this node has no docker now"):
        set_fault(a3.folder, "node1", "container/dead", "x")


def test_pulls_take_the_time_that_is_asked_for(a3: Machine) -> None:
    set_fault(a3.folder, "node1", "docker/pull_seconds_per_layer", "0.05")
    began = monotonic()
    assert a3.docker("pull", "-q", "quay.io/ascend/vllm-ascend:v0.23.0-a3").exit == 0
    assert monotonic() - began > 8 * 0.05


def test_a_broken_driver(a3: Machine) -> None:
    set_fault(a3.folder, "node1", "npu/driver", "broken")
    assert a3.run("npu-smi info").exit == 172
