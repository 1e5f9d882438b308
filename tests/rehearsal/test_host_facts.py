"""Facts of the host on a rehearsal node: what they say of a healthy one, and that each fault reaches the fact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from provision.facts.base import Fact
from provision.facts.clusters import Clusters
from provision.facts.disk import Disk
from provision.facts.firewall import Firewall
from provision.facts.limits import UNLIMITED, Limit, Limits
from provision.facts.network import Network
from provision.facts.processes import Processes
from provision.facts.proxy import Proxy
from provision.facts.python import PythonEnvironment
from provision.facts.services import Services
from provision.facts.shm import SharedMemory
from provision.facts.sysctl import Sysctl
from provision.facts.system import Memory
from provision.facts.timesync import TimeSync
from provision.facts.tuning import Tuning
from provision.rehearsal.faults import fault
from provision.results import Result
from tests.rehearsal.conftest import Machine

pytestmark = pytest.mark.rehearsal

VENV, DATASET = "/opt/aisbench", "/data/datasets/gsm8k"
FOLDERS = ("/data", "/tmp", "/share", "/var/lib/docker")


class Case(NamedTuple):
    """``good`` is what ``read`` finds on a healthy node, ``bad`` with the fault."""

    key: str
    value: str
    fact: Fact[Any]
    read: Callable[[Any], object]
    good: object
    bad: object


CASES = [
    Case("inodes", "10", Disk(FOLDERS), lambda v: v.of("/data").free_inodes, 478800000, 10),
    Case("disk/tmp", "1048576", Disk(FOLDERS), lambda v: (v.of("/tmp").mount, v.of("/tmp").free == 2**20),
         ("/", False), ("/tmp", True)),
    Case("disk/read_only", "1", Disk(FOLDERS), lambda v: v.of("/var/lib/docker").read_only, False, True),
    Case("shm/size", "67108864", Memory(), lambda v: v.shm_size, 512 * 2**30, 64 * 2**20),
    Case("thp", "always", Memory(), lambda v: v.thp, "madvise", "always"),
    Case("hugepages", "512", Memory(), lambda v: v.hugepages_total, 0, 512),
    Case("swap", "4096", Memory(), lambda v: v.swap_used, 0, 4096 * 2**20),
    Case("limits/nofile", "1024 4096", Limits(), lambda v: v.shell.nofile, Limit(1048576, 1048576), Limit(1024, 4096)),
    Case("limits/memlock", "65536", Limits(), lambda v: v.shell.memlock, Limit(UNLIMITED, UNLIMITED),
         Limit(65536, 65536)),
    Case("sysctl/vm.max_map_count", "65530", Sysctl(), lambda v: v.number("vm.max_map_count"), 655360, 65530),
    Case("sysctl/kernel.numa_balancing", "1", Sysctl(), lambda v: v.number("kernel.numa_balancing"), 0, 1),
    Case("sysctl/net.ipv4.ip_local_reserved_ports", "none", Sysctl(),
         lambda v: v.ports("net.ipv4.ip_local_reserved_ports"), (range(60000, 60032),), ()),
    Case("governor", "powersave", Tuning(), lambda v: list(v.governors), ["performance"], ["powersave"]),
    Case("irqbalance", "active", Services(), lambda v: v.runs("irqbalance"), False, True),
    Case("firewall", "iptables", Firewall(), lambda v: v.rules.input, "accept", "drop"),
    Case("firewall", "nft", Firewall(), lambda v: v.rules.input, "accept", "drop"),
    Case("firewall", "firewalld", Firewall(), lambda v: (v.tool, v.rules.closed), ("", False), ("firewalld", True)),
    Case("firewall", "ufw", Firewall(), lambda v: (v.tool, v.rules.closed), ("", False), ("ufw", True)),
    Case("selinux", "Enforcing", Firewall(), lambda v: v.selinux, "disabled", "enforcing"),
    Case("timesync", "off", TimeSync(), lambda v: (v.service, v.synchronized), ("chronyd", True), ("chronyd", False)),
    Case("timesync", "none", TimeSync(), lambda v: v.synchronized, True, None),
    Case("nic/eth0/mtu", "9000", Network(), lambda v: v.interface("eth0").mtu, 1500, 9000),
    Case("nic/eth0/speed", "1000", Network(), lambda v: v.interface("eth0").speed, 25000, 1000),
    Case("nic/eth0/state", "down", Network(), lambda v: v.interface("eth0").up, True, False),
    Case("dns/hostname", "127.0.1.1", Network(), lambda v: v.hosts_addresses == ("127.0.1.1",), False, True),
    Case("process/ray", "1", Processes(), lambda v: [p.kind for p in v.processes], [], ["ray"]),
    Case("shm/leftover", "1", SharedMemory(), lambda v: [f.kind for f in v.servers], [], ["python", "python"]),
    Case("proxy", "http://proxy.invalid:3128", Proxy(), lambda v: v.proxies.get("httpProxy"), None,
         "http://proxy.invalid:3128"),
    Case("evaluate/aisbench", "missing", PythonEnvironment(VENV), lambda v: v.exists, True, False),
    Case("evaluate/dataset", "missing", PythonEnvironment(files=(DATASET,)), lambda v: v.of(DATASET).kind, "dir",
         "missing"),
]  # fmt: skip


@pytest.fixture
def a3(machines: Callable[..., list[Machine]]) -> Machine:
    return machines(1, "a3", image=None)[0]


def look(machine: Machine, fact: Fact[Any]) -> Any:
    done = machine.run(fact.script())
    assert done.err == ""
    return fact.parse(Result(fact.name, done.exit, done.out, done.err))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.fact.name}-{case.key}-{case.value}")
def test_a_fault_reaches_the_fact(a3: Machine, case: Case) -> None:
    assert case.read(look(a3, case.fact)) == case.good
    with fault(a3.folder, "node1", case.key, case.value):
        assert case.read(look(a3, case.fact)) == case.bad


def test_what_a_healthy_node_is_made_of(a3: Machine) -> None:
    assert look(a3, PythonEnvironment(VENV)).modules["ais_bench"] is not None
    eth0 = look(a3, Network()).interface("eth0")
    assert (eth0.duplex, eth0.carrier) == ("full", True)


def test_another_cluster_and_its_ports(a3: Machine) -> None:
    a3.ok("mkdir -p /var/lib/qnext/blue/launch; echo 'vllm serve --port 8000' >/var/lib/qnext/blue/launch/head.sh")
    try:
        assert [name for name, _ in look(a3, Clusters(cluster="test")).holders(8000)] == ["blue"]
    finally:
        a3.ok("rm -r /var/lib/qnext/blue")
