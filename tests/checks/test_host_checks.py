"""Checks of the host on nodes that are ill in one way, and what a fix of theirs would do."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision import clock, registry
from provision.actions import Run
from provision.checks import runner
from provision.checks.policy import Choice, policy
from provision.facts.clusters import ClustersValue, OtherCluster, PlannedPort
from provision.facts.disk import DiskValue
from provision.facts.driver import MountSource
from provision.facts.files import ListingValue
from provision.facts.firewall import FirewallValue, Rules
from provision.facts.limits import Limit, LimitsValue, Rlimits
from provision.facts.network import Listener
from provision.facts.processes import ProcessesValue, ServerProcess
from provision.facts.proxy import ProxyValue
from provision.facts.python import PathState
from provision.facts.services import ServicesValue
from provision.facts.shm import SharedFile, SharedMemoryValue
from provision.facts.system import ClockValue
from provision.facts.timesync import TimeSyncValue
from provision.facts.tuning import TuningValue
from provision.inventory.model import KvTransfer, Model, Serve

from .ills import our_server, state_disk, with_image
from .proof.eval_client import DATA, VENV, client
from .world import GIB, MODEL, FakeNode, cluster, healthy, model, ours, pair, settings

Ill = Callable[[FakeNode], object]

HOST = (
    "identity",
    "disk",
    "memory",
    "hostname",
    "ports",
    "firewall",
    "leftovers",
    "proxy",
    "limits",
    "tuning",
    "time_sync",
)
A3 = settings()
CPU = settings("cpu")
PROFILED = settings(model=Model(path=MODEL, profile="qwen3-next-80b-a3b-instruct"))
PSM = SharedFile("psm_8f2d11a7", "python", 40 * 1024**2, "root", 1, mapped=False)


def findings(cluster: Any, *names: str) -> list[Any]:
    choice = Choice(only=names or HOST)
    outcomes = [o for node in cluster.nodes for o in runner.run_node(node, choice)]
    return [f for outcome in [*outcomes, *runner.run_cluster(cluster, choice)] for f in outcome.findings]


def kernel(node: FakeNode, **values: str) -> None:
    """Kernel parameters by their last word."""
    found = node.facts["sysctl"].values
    node.alter("sysctl", values={name: values.get(name.rpartition(".")[2], value) for name, value in found.items()})


def folder(node: FakeNode, path: str, **changes: Any) -> None:
    found = node.facts["disk"].folders
    node.facts["disk"] = DiskValue(tuple(replace(f, **changes) if f.path == path else f for f in found))


def shm(node: FakeNode, *files: SharedFile) -> None:
    node.facts["shared-memory"] = SharedMemoryValue(files, len(files))


def dead(node: FakeNode, *scripts: str) -> None:
    """An ended container of the process ``head``, and the launch scripts there are."""
    node.alter("containers", containers=(ours("exited", exit_code=137),))
    node.facts["listing"] = ListingValue("/var/lib/qnext/qnext/launch", True, scripts)


def rules(node: FakeNode, found: Rules | None, **changes: Any) -> None:
    node.facts["firewall"] = FirewallValue(rules=found, **changes)


CASES: dict[str, tuple[Any, Ill, list[str]]] = {
    # disk
    "weights to come, and no room for them": (
        PROFILED,
        lambda n: (
            n.facts.update({"model-folder": model(exists=False, shards=(), size=0)}),
            folder(n, MODEL, free=GIB),
        ),
        [f"fail N13 {MODEL} lacks weights, and / has 1.0 GB free for them"],
    ),
    "weights that are there need no room": (PROFILED, lambda n: folder(n, MODEL, free=GIB), []),
    "little in /tmp": (CPU, lambda n: folder(n, "/tmp", free=1024), ["warn N13 /tmp has 0 MB free (/dev/sda1 on /)"]),
    "few inodes": (
        CPU,
        lambda n: state_disk(n, free_inodes=5000),
        ["warn N13 /var/lib/qnext has 5000 free inodes (/)"],
    ),
    "a state folder that hangs": (
        CPU,
        lambda n: state_disk(n, hung=True, free=None, free_inodes=None, mount=""),
        ["fail N13 /var/lib/qnext: nothing that touches it ends"],
    ),
    "no inodes for images": (
        CPU,
        lambda n: folder(n, "/var/lib/docker", free_inodes=12, mount="/var"),
        ["fail N13 /var/lib/docker has 12 free inodes (/var)"],
    ),
    "little for logs": (
        A3,
        lambda n: (with_image(n), n.alter("docker", root_free=5 * GIB)),
        ["warn N13 /var/lib/docker has 5.0 GB free for the servers' logs"],
    ),
    # memory
    "memory lies in huge pages": (
        A3,
        lambda n: n.alter("memory", available=20 * GIB, hugepages_total=51200, hugepage_size=2 << 20),
        ["warn N14 20.0 GB of main memory are available, 64.0 GB are advised for these weights, and 100.0 GB lie in"],
    ),
    "swapping": (
        CPU,
        lambda n: n.alter("memory", swap_total=16 * GIB, swap_free=10 * GIB),
        ["warn N14 6.0 GB of memory are in swap"],
    ),
    "full shared memory": (
        CPU,
        lambda n: n.alter("memory", shm_size=GIB, shm_used=GIB),
        ["warn N14 /dev/shm of the host has 0 MB free of 1.0 GB"],
    ),
    "our servers have the memory": (A3, lambda n: (our_server(n), n.alter("memory", available=GIB)), []),
    # hostname
    "name leads to another machine": (
        A3,
        lambda n: n.alter("network", hostname_addresses=("192.0.2.9",)),
        ["warn N17 the node's own name atlas-1 leads to 192.0.2.9"],
    ),
    "name leads to another address of the node": (
        A3,
        lambda n: n.alter("network", hostname_addresses=("172.17.0.1",)),
        [],
    ),
    "two of one name": (
        A3,
        lambda n: n.alter("network", hostname="atlas-2"),
        ["warn N17 atlas-1, atlas-2 have one name, atlas-2"],
    ),
    # ports
    "HCCL's ports are anybody's": (
        A3,
        lambda n: kernel(n, ip_local_reserved_ports="8080"),
        ["warn N18 port 60000-60031 (HCCL) may be taken by any outgoing connection"],
    ),
    "a planned port is anybody's": (
        settings("cpu", serve=Serve(topology="single", port=40000)),
        lambda n: kernel(n, ip_local_reserved_ports=""),
        ["warn N18 port 40000 (API) may be taken by any outgoing connection"] * 2,
    ),
    "numbered ports are told as spans": (
        settings(serve=Serve(topology="prefill-decode", tensor_parallel_size=4, kv_transfer=KvTransfer(port=50000))),
        lambda n: kernel(n, ip_local_reserved_ports="60000-60031"),
        ["warn N18 port 50000-50003 (KV transfer) may be taken by any outgoing connection"] * 2,
    ),
    "HCCL's ports are elsewhere": (
        settings(serve=Serve(env={"HCCL_IF_BASE_PORT": 20000})),
        lambda n: kernel(n, ip_local_reserved_ports=""),
        [],
    ),
    "a range of HCCL's ports": (
        settings(serve=Serve(env={"HCCL_HOST_SOCKET_PORT_RANGE": "61000-61050"})),
        lambda n: n.alter("ports", listeners=(Listener("0.0.0.0", 61001, 9, "nginx"),)),
        ["warn N18 port 61001, where HCCL negotiates, is taken by nginx (pid 9)"],
    ),
    "a port of another cluster": (
        A3,
        lambda n: n.facts.update(
            {"clusters": ClustersValue((OtherCluster("other", (PlannedPort(8000, "port", "head"),)),))}
        ),
        ["warn N18 port 8000 (API) is also that of cluster other, which does not run now (/var/lib/qnext/other"],
    ),
    "a port in another cluster's container": (
        A3,
        lambda n: n.alter("ports", listeners=(Listener("0.0.0.0", 8000, 77, "vllm"),)).alter(
            "containers", foreign=(replace(ours(pid=77), name="qnext-other-head", cluster="other"),)
        ),
        ["fail N18 port 8000 (API) is taken by vllm (pid 77) in container qnext-other-head of cluster other"],
    ),
    # firewall
    "all is dropped": (
        A3,
        lambda n: rules(n, Rules("drop"), firewalld=True),
        ["warn N19 firewalld may keep out the other nodes: what no rule takes is dropped"],
    ),
    "a rule rejects": (
        A3,
        lambda n: rules(n, Rules("accept", drops=("-A INPUT -j REJECT",))),
        ["warn N19 a packet filter (iptables, nftables) may keep out the other nodes: dropped by rule"],
    ),
    "all is dropped, but the network of the nodes": (
        A3,
        lambda n: rules(n, Rules("drop", accepts=("10.0.0.0/16",))),
        [],
    ),
    "all is dropped, but what comes in there": (A3, lambda n: rules(n, Rules("drop", accepts=("eth0",))), []),
    "all is dropped, but for others": (
        A3,
        lambda n: rules(n, Rules("drop", accepts=("docker0", "10.9.0.0/16"))),
        ["warn N19 a packet filter (iptables, nftables) may keep out the other nodes: what no rule takes"],
    ),
    "rules that cannot be listed": (
        A3,
        lambda n: rules(n, None, ufw=True, problems=("nft: Operation not permitted",)),
        ["warn N19 ufw is active, and its rules cannot be listed: nft: Operation not permitted"],
    ),
    "nobody knows": (
        A3,
        lambda n: rules(n, None, problems=("no tool lists its rules",)),
        ["info N19 a packet filter may be active, and its rules cannot be listed"],
    ),
    "SELinux": (A3, lambda n: n.alter("firewall", selinux="enforcing"), ["warn N19 SELinux is enforcing"]),
    "SELinux from the next boot on": (
        A3,
        lambda n: n.alter("firewall", selinux="permissive", selinux_configured="enforcing"),
        ["info N19 SELinux will be enforcing from the next boot on"],
    ),
    # leftovers
    "a process with all about it": (
        CPU,
        lambda n: n.facts.update(
            {"processes": ProcessesValue((ServerProcess(9, 1, "bob", 7300, kind="ray", args="raylet"),))}
        ),
        ["warn N21 1 server process runs outside of containers: 9 (bob, for 2 h) raylet"],
    ),
    "shared memory of ours and of others": (
        CPU,
        lambda n: shm(n, PSM, replace(PSM, name="vllm_x", kind="vllm", user="bob")),
        [
            "warn N21 1 file of root in /dev/shm, 40 MB, that no process uses: psm_8f2d11a7",
            "warn N21 1 file of bob in /dev/shm, 40 MB, that no process uses: vllm_x",
        ],
    ),
    "shared memory in use, or of another kind": (
        CPU,
        lambda n: shm(n, replace(PSM, mapped=True), replace(PSM, kind="ray"), replace(PSM, kind="", name="mine")),
        [],
    ),
    "an ended container of another layout": (
        CPU,
        lambda n: dead(n, "worker1.sh"),
        ["warn N21 1 ended container of an earlier launch: qnext-qnext-head"],
    ),
    "a server of ours that has ended": (CPU, lambda n: dead(n, "head.sh", "head.env"), []),
    # proxy
    "a proxy that exempts the network": (
        CPU,
        lambda n: n.facts.update({"proxy": ProxyValue({"httpProxy": "x", "noProxy": "localhost,10.0.0.0/24"})}),
        [],
    ),
    "a proxy that exempts this node alone": (
        CPU,
        lambda n: n.facts.update({"proxy": ProxyValue({"httpProxy": "x", "noProxy": "10.0.0.1"}, "config.json")}),
        ["warn N22 config.json puts httpProxy into every container, and noProxy lacks 10.0.0.2"],
    ),
    "a proxy of the servers": (
        settings("cpu", serve=Serve(env={"HTTPS_PROXY": "http://p:1", "no_proxy": "10.0.0.2"})),
        lambda n: None,
        ["warn N22 qnext.serve.env sets https_proxy, and NO_PROXY lacks 10.0.0.1"] * 2,
    ),
    "a proxy of the servers that is bypassed": (
        settings("cpu", serve=Serve(env={"HTTPS_PROXY": "http://p:1"})),
        lambda n: None,
        [],
    ),
    # limits
    "containers may open few files": (
        A3,
        lambda n: n.facts.update({"limits": LimitsValue(containerd=Rlimits(Limit(1024, 4096), Limit(65536, 65536)))}),
        ["warn N23 a process in a container may open 1024 files", "info N23 a process in a container may lock 64 kB"],
    ),
    "a login's limits do not matter to containers": (
        A3,
        lambda n: n.alter("limits", shell=Rlimits(Limit(1024, 1024))),
        [],
    ),
    "the kernel's own number of maps": (
        A3,
        lambda n: kernel(n, max_map_count="65530"),
        ["info N23 vm.max_map_count is"],
    ),
    "fewer maps": (A3, lambda n: kernel(n, max_map_count="30000"), ["warn N23 vm.max_map_count is 30000"]),
    # tuning
    "powersave on some": (
        A3,
        lambda n: n.facts.update({"tuning": TuningValue({"performance": 60, "powersave": 20})}),
        ["warn N24 the processors' frequency governor is powersave (20 of 80)"],
    ),
    "no governor": (A3, lambda n: n.facts.update({"tuning": TuningValue()}), []),
    "NUMA balancing": (A3, lambda n: kernel(n, numa_balancing="1"), ["warn N24 kernel.numa_balancing is 1"]),
    "swappiness without swap": (A3, lambda n: kernel(n, swappiness="60"), []),
    "swappiness": (
        A3,
        lambda n: (kernel(n, swappiness="60"), n.alter("memory", swap_total=GIB, swap_free=GIB)),
        ["warn N24 vm.swappiness is 60"],
    ),
    "irqbalance": (
        A3,
        lambda n: n.facts.update({"services": ServicesValue({"irqbalance": 812}, "cgroup")}),
        ["warn N24 irqbalance runs (pid 812)"],
    ),
    "huge pages for all": (A3, lambda n: n.alter("memory", thp="always"), ["warn N24 transparent huge pages are made"]),
    "machines without NPUs are tuned by others": (CPU, lambda n: kernel(n, numa_balancing="1"), []),
    # time_sync
    "not synchronised": (
        CPU,
        lambda n: n.facts.update({"time-sync": TimeSyncValue(False, "chronyd")}),
        ["warn N28 the clock follows no time server (chronyd is not synchronised)"],
    ),
    "no time service": (
        CPU,
        lambda n: n.facts.update({"time-sync": TimeSyncValue(problems=("no time service was found",))}),
        ["warn N28 no time service is known to run"],
    ),
    "far from its server": (
        CPU,
        lambda n: n.facts.update({"time-sync": TimeSyncValue(True, "ntpd", "10.0.0.254", -3.2)}),
        ["warn N28 the clock is 3.2 s behind of 10.0.0.254, which it follows"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_ill_node_gives_its_findings_and_no_others(name: str) -> None:
    own, make_ill, wanted = CASES[name]
    two = pair(own)
    make_ill(two.nodes[0])
    found = findings(two)
    told = [f"{f.level} {f.code} {f.summary}" for f in found]
    assert [text[: len(start)] for text, start in zip(told, wanted, strict=False)] == wanted
    assert len(told) == len(wanted), told
    assert all(f.node and f.remedy and f.expected and f.observed for f in found)


@pytest.mark.parametrize(
    ("names", "hostname", "odd", "proposed"),
    [
        (("atlas-1", "atlas-2"), "clone", "atlas-2", "atlas-2"),
        (("atlas-1", "atlas-2"), "atlas-2", "atlas-1", "atlas-1"),
        (("10.0.0.1", "10.0.0.2"), "clone", "10.0.0.2", "A-NAME-OF-ITS-OWN"),
        (("fd00::1", "fd00::2"), "clone", "fd00::2", "A-NAME-OF-ITS-OWN"),
        (("node_1", "node_2"), "clone", "node_2", "A-NAME-OF-ITS-OWN"),
    ],
)
def test_a_twin_is_given_a_name_that_a_machine_can_have(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], hostname: str, odd: str, proposed: str
) -> None:
    two = pair()
    monkeypatch.setattr(FakeNode, "name", property(lambda node: names[node.index]))
    for node in two.nodes:
        node.alter("network", hostname=hostname)
    (finding,) = findings(two, "hostname")
    assert finding.node == odd
    assert finding.remedy.startswith(f"hostnamectl set-hostname {proposed} on {odd} (and so on)")


def test_a_firewall_around_a_single_node_is_told_for_its_clients() -> None:
    node = healthy()
    rules(node, Rules("drop"))
    (finding,) = findings(cluster(node), "firewall")
    assert (finding.level, "keep out clients" in finding.summary) == ("info", True)
    assert "--dport 8000" in finding.remedy


def test_the_command_that_lets_others_in_is_of_their_kind_of_address() -> None:
    nodes = [healthy(i, settings(data_address=f"fd00::{i + 1}")) for i in range(2)]
    for node in nodes:
        rules(node, Rules(), rules6=Rules("drop"))
    found = findings(cluster(*nodes), "firewall")
    assert {f.remedy.partition(" -j ")[0] for f in found} == {"ip6tables -I INPUT -s fd00::1,fd00::2"}
    assert all("ip6 saddr { fd00::1, fd00::2 }" in f.remedy for f in found)


DROP = Rules("drop")


@pytest.mark.parametrize(
    ("network", "found", "told"),
    [
        ("10.0.0.", {"rules": Rules(), "rules6": DROP}, []),
        ("fd00::", {"rules": DROP, "rules6": Rules()}, []),
        ("fd00::", {"rules": Rules(), "rules6": DROP}, ["a packet filter (iptables, nftables) may keep out the other"]),
        ("fd00::", {"rules": Rules(), "rules6": replace(DROP, accepts=("fd00::/64",))}, []),
        ("fd00::", {"rules": Rules(), "rules6": None}, ["a packet filter may be active, and its rules cannot be"]),
        ("10.0.0.", {"rules": Rules(), "rules6": None}, []),
    ],
)
def test_what_counts_are_the_rules_for_the_family_of_the_data_addresses(
    network: str, found: dict[str, Any], told: list[str]
) -> None:
    nodes = [healthy(i, settings(data_address=f"{network}{i + 1}")) for i in range(2)]
    nodes[0].facts["firewall"] = FirewallValue(**found)
    assert [
        f.summary[: len(start)] for f, start in zip(findings(cluster(*nodes), "firewall"), told, strict=True)
    ] == told


def test_nodes_with_the_same_filter_are_told_the_same() -> None:
    """So that an account of 64 nodes has one entry."""
    nodes = [healthy(i) for i in range(64)]
    for node in nodes:
        node.alter("firewall", rules=Rules("drop"), firewalld=True)
    found = findings(cluster(*nodes), "firewall")
    assert (len(found), len({(f.summary, f.expected, f.remedy) for f in found})) == (64, 1)
    assert found[0].remedy.endswith(
        " 10.0.0.64; do firewall-cmd --permanent --zone=trusted --add-source=$a; done; firewall-cmd --reload; "
        "firewall-cmd --list-all-zones shows the rules"
    )


# ---- clocks


def clocks(monkeypatch: pytest.MonkeyPatch, here: float, *times: float, then: float | None = None) -> Any:
    """Nodes whose clocks stand so, and read ``then`` when they are looked at again."""
    monkeypatch.setattr(clock, "now", lambda: here)
    nodes = [healthy(index, CPU) for index in range(len(times))]
    for node, time in zip(nodes, times, strict=True):
        node.facts["clock"] = ClockValue(epoch=time)
        node.later = {"clock": ClockValue(epoch=time if then is None else then)}
    return cluster(*nodes)


@pytest.mark.parametrize(
    ("times", "then", "said"),
    [
        ((1000.0, 1000.4), None, []),
        ((1090.0, 1090.4), None, ["the clocks of all 2 nodes are 90 s ahead of this machine's"]),
        ((900.0,), None, ["the clock of atlas-1 is 100 s behind of this machine's"]),
        ((900.0, 901.0), 999.0, []),
        ((1000.0, 5000.0), None, []),
    ],
    ids=["right", "both wrong", "one wrong", "looked at long ago", "at odds: the check clock tells"],
)
def test_clocks_against_this_machines(
    monkeypatch: pytest.MonkeyPatch, times: tuple[float, ...], then: float | None, said: list[str]
) -> None:
    found = findings(clocks(monkeypatch, 1000.0, *times, then=then), "time_sync")
    assert [finding.summary for finding in found] == said


def test_clocks_that_cannot_be_read_again_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = clocks(monkeypatch, 1000.0, 900.0)
    wrong.nodes[0].later = {"clock": ClockValue()}
    assert findings(wrong, "time_sync") == []


# ---- the evaluation's client


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        (
            {"version": "", "problems": ("it does not run: No such file",)},
            [f"{VENV} has no Python that runs: it does not"],
        ),
        ({"modules": {"ais_bench": None}}, [f"{VENV} lacks ais_bench"]),
        ({"files": (PathState(DATA, "dir", entries=0),)}, [f"{DATA} is empty"]),
        ({"files": ()}, [f"{DATA} is missing"]),
    ],
    ids=["whole", "broken", "no module", "empty data", "no data"],
)
def test_what_an_evaluation_lacks(changes: dict[str, Any], said: list[str]) -> None:
    found = findings(cluster(client(**changes)), "eval_client")
    assert [f.summary[: len(text)] for f, text in zip(found, said, strict=True)] == said


def test_only_the_head_evaluates() -> None:
    node = client(exists=False)
    node.index = 1
    assert findings(cluster(node), "eval_client") == []


# ---- fixes


def fixed(node: FakeNode, name: str) -> list[Run]:
    """What the check's fix would do about its findings."""
    spec = registry.check(name)
    assert spec.fix is not None
    offered = tuple(f for f in findings(cluster(node), name) if f.fix)
    actions = list(spec.fix(policy(node.settings).args(spec), node, offered))
    assert len(actions) == len(offered)
    return [action for action in actions if isinstance(action, Run)]


@pytest.mark.parametrize(
    ("engine", "found", "said", "remedy"),
    [
        ("docker", {"installed": False, "others": ("podman",)}, "Docker is not installed", "install.engine: podman"),
        ("podman", {"installed": False, "others": ()}, "podman is not installed", "install podman"),
        ("docker", {"engine": "podman"}, "docker on this node is podman under that name", "engine: podman"),
        ("nerdctl", {"engine": "nerdctl", "reachable": False, "error": "no"}, "nerdctl cannot be used: no", "restart"),
        ("podman", {"engine": "podman"}, "", ""),
    ],
)  # fmt: skip
def test_the_engine_that_is_asked_for(engine: str, found: dict[str, object], said: str, remedy: str) -> None:
    node = healthy()
    node.settings = node.settings.model_copy(
        update={"install": node.settings.install.model_copy(update={"engine": engine})}
    )
    node.alter("docker", **found)
    told = findings(cluster(node), "docker")
    assert [finding.summary for finding in told] == [said] * bool(said)
    assert all(remedy in finding.remedy for finding in told)


def test_a_kernel_parameter_is_set_and_its_old_value_kept() -> None:
    node = healthy()
    kernel(node, numa_balancing="1", ip_local_reserved_ports="8080")
    (tuned,), (reserved,) = fixed(node, "tuning"), fixed(node, "ports")
    assert tuned.label == "sysctl -w kernel.numa_balancing=0 (was 1)"
    assert "sysctl -w kernel.numa_balancing=1" in tuned.script, "how it is put back"
    assert "net.ipv4.ip_local_reserved_ports=8080,60000-60031" in reserved.script
    assert tuned.affects == reserved.affects == frozenset({"sysctl"})


def test_only_what_is_ours_and_unused_is_removed() -> None:
    node = healthy()
    shm(node, PSM, replace(PSM, name="psm_used", mapped=True), replace(PSM, name="psm_bob", user="bob"))
    dead(node)
    files, container = fixed(node, "leftovers")
    assert files.label == "remove /dev/shm/psm_8f2d11a7"
    assert "for f in psm_8f2d11a7; do" in files.script
    assert container.script == "docker rm qnext-qnext-head\n", "without force: a running one is refused"


@pytest.mark.parametrize("shell", [words for words in (["sh"], ["busybox", "sh"]) if shutil.which(words[0])])
@pytest.mark.skipif(not Path("/dev/shm").is_dir() or os.getuid() != 0, reason="needs /dev/shm, as root")
def test_what_came_into_use_since_is_not_removed(shell: list[str]) -> None:
    """Also under another name, as a container with ``-v /dev/shm:/x`` has it."""
    mark = secrets.token_hex(4)
    idle, busy, other = (Path(f"/dev/shm/{kind}{mark}") for kind in ("psm_1", "psm_2", "other_"))
    node = healthy()
    shm(node, *(replace(PSM, name=path.name) for path in (idle, busy)))
    (action,) = fixed(node, "leftovers")
    idle.write_bytes(b"idle")
    busy.write_bytes(b"busy")
    other.hardlink_to(busy)
    try:
        with other.open("rb"):
            done = subprocess.run(shell, input=action.script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, f"in use now: {busy}\n")
        assert (idle.exists(), busy.exists()) == (False, True)
    finally:
        for path in (idle, busy, other):
            path.unlink(missing_ok=True)


def test_processes_are_never_mended() -> None:
    node = healthy()
    node.facts["processes"] = ProcessesValue((ServerProcess(9, args="vllm serve"),))
    assert fixed(node, "leftovers") == []


def test_a_folder_where_the_driver_has_a_file_is_offered_to_go() -> None:
    node = healthy()
    found = node.facts["mount-sources"].sources
    node.alter(
        "mount-sources",
        sources=tuple(MountSource(s.path, "dir", "file") if s.path == "/etc/hccn.conf" else s for s in found),
    )
    (action,) = fixed(node, "mounts")
    assert action.script == "rmdir -- /etc/hccn.conf\n"


def test_nothing_is_offered_where_it_could_not_be_seen_who_maps_what() -> None:
    node = healthy(0, CPU)
    shm(node, PSM)
    node.alter("shared-memory", problems=("no answer within 10 s",))
    found = findings(cluster(node), "leftovers")
    assert [(f.summary, f.fix) for f in found] == [("the probe shared-memory: no answer within 10 s", "")]
