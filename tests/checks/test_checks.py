"""Each check on nodes that are ill in one way: the findings of *all* checks, so that one cause gives one finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from provision import clock
from provision.accel.ascend.driver import DriverVersion, FirmwareVersion
from provision.accel.ascend.kernel_log import KernelLine
from provision.accel.ascend.npu_smi_sections import ChipEcc, NpuBoard
from provision.checks import runner
from provision.checks.support import span
from provision.facts.kernel_log import OomKill
from provision.facts.model import Shard
from provision.facts.network import Address, Interface, Listener
from provision.facts.processes import ProcessesValue, ServerProcess
from provision.facts.proxy import ProxyValue
from provision.facts.system import ClockValue
from provision.http import Response
from provision.inventory.model import Serve

from .ills import (
    a_card_is_dead,
    a_card_left_the_table,
    a_die_lost_its_rows,
    busy,
    details,
    dies,
    docker_denied,
    exporter,
    fell_off_the_bus,
    foreign_container,
    links,
    network,
    no_docker,
    no_driver,
    no_npu_smi,
    npu_smi_hangs,
    npu_smi_refuses,
    our_server,
    our_server_ended,
    our_server_unseen,
    state_disk,
    with_image,
)
from .world import GIB, FakeNode, Server, cluster, healthy, model, pair, settings

Ill = Callable[[FakeNode], object]


def findings(cluster: Any) -> list[Any]:
    outcomes = [o for node in cluster.nodes for o in runner.run_node(node)] + list(runner.run_cluster(cluster))
    return [finding for outcome in outcomes for finding in outcome.findings]


A3 = settings()
WHOLE_A3 = settings(serve=Serve(topology="data-parallel", data_parallel_size=4, tensor_parallel_size=8))
A2 = settings("atlas-800-a2")
CPU = settings("cpu")
ETH = Interface("eth0", "up", addresses=(Address("10.0.0.1", 24),))


def kernel_line(minutes: float, message: str = "", device: int = 3) -> KernelLine:
    """An error of a driver, so many minutes before the node's clock."""
    said = message or f"heart beat lost (id={minutes})"
    return KernelLine(said, said, "devdrv", device=device, seconds=864000.0 - minutes * 60)


CASES: dict[str, tuple[Any, Ill, list[str]]] = {
    "not root": (
        A3,
        lambda n: n.alter("identity", root=False, uid=1000, user="ops"),
        ["fail N01 commands run as ops, not as root"],
    ),
    "image of another processor": (
        A3,
        lambda n: with_image(n, arch="amd64"),
        ["fail N02 the image is made for amd64, the node is aarch64"],
    ),
    "image fits": (A3, with_image, []),
    "image of another family": (
        A3,
        lambda n: with_image(n, env={"SOC_VERSION": "ascend910b1"}),
        ["fail N12 the image is built for ascend910b1 (atlas-800-a2), not for atlas-800-a3"],
    ),
    "no docker": (A3, no_docker, ["fail N03 Docker is not installed"]),
    "no docker, and our servers run": (
        A3,
        lambda n: (our_server(n), no_docker(n)),
        ["fail N03 Docker is not installed"],
    ),
    "docker denied": (A3, docker_denied, ["fail N03 Docker's daemon cannot be used: permission denied while trying"]),
    "no driver at all": (A3, no_driver, ["fail N04 no Ascend driver on this node"]),
    "npu-smi missing": (A3, no_npu_smi, ["fail N04 npu-smi is neither in /usr/local/bin nor in /usr/local/sbin"]),
    "npu-smi hangs": (A3, npu_smi_hangs, ["fail N04 /usr/local/bin/npu-smi info hangs: no answer within 30 s"]),
    "npu-smi refuses": (
        A3,
        npu_smi_refuses,
        ["fail N04 /usr/local/bin/npu-smi info fails: dcmi module initialize failed"],
    ),
    "a dead card that the layout needs": (
        WHOLE_A3,
        a_card_is_dead,
        ["fail N05 davinci 14-15 missing: 14 of 16 NPU devices are there"],
    ),
    "a dead card that the layout does without": (
        A3,
        a_card_is_dead,
        ["warn N05 davinci 14-15 missing: 14 of 16 NPU devices are there"],
    ),
    "a card left the table": (
        WHOLE_A3,
        a_card_left_the_table,
        ["fail N05 npu-smi and /dev disagree about davinci 14-15"],
    ),
    "a card left the table that the layout does without": (
        A3,
        a_card_left_the_table,
        ["warn N05 npu-smi and /dev disagree about davinci 14-15"],
    ),
    "a device node alone is gone": (
        WHOLE_A3,
        lambda n: n.alter("davinci", devices=(*range(7), *range(8, 16))),
        ["fail N05 davinci 7 missing: 15 of 16 NPU devices are there, and on the PCI bus at 0000:8f:00.0 without its"],
    ),
    "no device nodes": (
        A3,
        lambda n: n.alter("davinci", devices=(), davinci_manager=False),
        ["fail N05 no /dev/davinciN device"],
    ),
    "the mapping alone hangs": (
        A3,
        lambda n: n.alter("npu-smi-mapping", chips=(), problems=("npu-smi hangs: no answer within 30 s",)),
        ["fail N05 the probe npu-smi-mapping: npu-smi hangs: no answer within 30 s"],
    ),
    "another family": (
        A3,
        lambda n: dies(n, *range(16), name="910B3"),
        ["fail N06 npu-smi names 910B3, which is atlas-800-a2"],
    ),
    "a chip that is not served": (
        A2,
        lambda n: dies(n, *range(8), name="910B"),
        ["fail N06 npu-smi names 910B, which is no NPU that is served here: vllm-ascend does not run on"],
    ),
    "another chip of the family": (
        A2,
        lambda n: dies(n, *range(8), name="910B4"),
        ["fail X01 the nodes' NPUs differ: 8 x 910B4 on atlas-1; 8 x 910B3 on atlas-2"],
    ),
    "an alarm": (A3, lambda n: dies(n, 3, health="Alarm"), ["fail N07 davinci 3 (NPU 1 chip 1): health is Alarm"]),
    "health unknown on two": (
        A3,
        lambda n: (dies(n, 4, 5, health=None), details(n, 4, 5, health=None)),
        ["fail N07 davinci 4-5 (NPU 2): health is not told by npu-smi"],
    ),
    "health left out of the table, told when asked alone": (
        A3,
        lambda n: dies(n, 4, health=None),
        ["warn N07 davinci 4 (NPU 2 chip 0): health is not told by npu-smi info; asked for it alone it says OK"],
    ),
    "an alarm with its codes": (
        A3,
        lambda n: (
            dies(n, 3, health="Alarm"),
            details(n, 3, health="Alarm", codes=("A4025021", "8C03A000"), information=("heart beat lost",)),
        ),
        [
            "fail N07 davinci 3 (NPU 1 chip 1): health is Alarm, error codes A4025021 8C03A000 (heart beat lost)",
        ],
    ),
    "hot dies": (
        A3,
        lambda n: (dies(n, 4, temp_c=91), dies(n, 5, temp_c=88)),
        ["warn N07 davinci 4-5 (NPU 2): 91 degrees Celsius at most"],
    ),
    "heat that is borne": (
        settings(checks={"npu_health": {"hot": 95}}),
        lambda n: dies(n, 4, temp_c=91),
        [],
    ),
    "memory errors": (
        A3,
        lambda n: details(n, 2, 3, ecc=ChipEcc(hbm_double=2, hbm_double_isolated=4)),
        [
            "warn N34 davinci 2-3 (NPU 1): 2 uncorrected (double-bit) memory errors each",
            "warn N34 davinci 2-3 (NPU 1): 4 memory pages taken out of use",
        ],
    ),
    "memory errors that are borne": (
        settings(checks={"N34": {"uncorrected": 2, "isolated": 4}}),
        lambda n: details(n, 2, 3, ecc=ChipEcc(hbm_double=2, hbm_double_isolated=4)),
        [],
    ),
    "memory errors that were corrected": (A3, lambda n: details(n, 2, ecc=ChipEcc(hbm_single=900)), []),
    "memory errors of a die that is not used": (
        settings(devices=tuple(range(8))),
        lambda n: details(n, 12, ecc=ChipEcc(hbm_double=2)),
        [],
    ),
    "a code behind good health": (
        A3,
        lambda n: details(n, 9, codes=("80E01801",)),
        ["warn N34 davinci 9 (NPU 4 chip 1): health is OK, error code 80E01801"],
    ),
    "an alarm since the table was read": (
        A3,
        lambda n: details(n, 9, health="Critical", codes=("80E01801",)),
        ["fail N34 davinci 9 (NPU 4 chip 1): health is Critical, error code 80E01801"],
    ),
    "a faulty chip": (
        A3,
        lambda n: n.alter(
            "npu-detail", boards=(NpuBoard(7, chip_faults=1),), problems=("-t board -i 7: 1 faulty chips",)
        ),
        ["warn N34 davinci 14-15 (NPU 7): the card counts 1 faulty chips"],
    ),
    "one query hangs, and others tell": (
        A3,
        lambda n: (
            details(n, 0, ecc=ChipEcc(hbm_double=1)),
            n.alter(
                "npu-detail", problems=("-t ecc -i 3: npu-smi hangs: no answer within 10 s", "2 calls were not made")
            ),
        ),
        [
            "warn N34 davinci 0 (NPU 0 chip 0): 1 uncorrected",
            "fail N34 the probe npu-detail: npu-smi info -t ecc -i 3: npu-smi hangs",
        ],
    ),
    "a query that was refused": (
        A3,
        lambda n: n.alter("npu-detail", problems=("-t ecc -i 3: npu-smi ended with exit status 1",)),
        ["warn N34 npu-smi told less than asked: -t ecc -i 3: npu-smi ended with exit status 1"],
    ),
    "a die lost its rows": (
        WHOLE_A3,
        a_die_lost_its_rows,
        ["fail N05 davinci 15 (NPU 7 chip 1): not in the table of npu-smi info"],
    ),
    "a die that the layout does without lost its rows": (
        A3,
        a_die_lost_its_rows,
        ["warn N05 davinci 15 (NPU 7 chip 1): not in the table of npu-smi info"],
    ),
    "a row that nobody understands": (
        A3,
        lambda n: n.alter("npu-smi", problems=("not understood: '| 3 |'", "NPU 3: its health could not be read")),
        ["warn N04 /usr/local/bin/npu-smi info could not be read in full: not understood: '| 3 |'"],
    ),
    "a card off the bus": (
        A3,
        lambda n: fell_off_the_bus(n, 14, 15),
        ["fail N33 davinci 14-15 (NPU 7): fell off the PCI bus, its device node is still there"],
    ),
    "a card off the bus and its devices gone": (
        WHOLE_A3,
        lambda n: (a_card_is_dead(n), fell_off_the_bus(n, 14, 15)),
        ["fail N05 davinci 14-15 missing: 14 of 16 NPU devices are there, nor on the PCI bus"],
    ),
    "a card off the bus that is not used": (
        settings(devices=tuple(range(8))),
        lambda n: fell_off_the_bus(n, 14, 15),
        [],
    ),
    "a card without its driver": (
        settings(devices=tuple(range(8))),
        a_card_is_dead,
        ["warn N33 2 NPUs on the PCI bus have no device node: 0000:9d:00.0, 0000:9f:00.0"],
    ),
    "a bus that cannot be looked at": (A3, lambda n: n.alter("pci", source=None, devices=()), []),
    "a bus with other addresses, whole": (
        A3,
        lambda n: dies(n, *range(16), bus_id=None),
        [],
    ),
    "a bus with other addresses, and fewer": (
        A3,
        lambda n: (dies(n, *range(16), bus_id=None), fell_off_the_bus(n, 3)),
        ["fail N33 the PCI bus shows 15 NPUs, /dev has 16: 1 fell off"],
    ),
    "errors in the kernel's log": (
        A3,
        lambda n: n.alter("kernel-log", errors=(kernel_line(90), kernel_line(30), kernel_line(3, "link down", 7))),
        [
            "warn N32 the NPU driver of device 7 reported an error (3 min ago): link down",
            "warn N32 the NPU driver of device 3 reported an error (2 times, last 30 min ago): heart beat lost (id=30)",
        ],
    ),
    "old errors in the kernel's log": (
        A3,
        lambda n: n.alter("kernel-log", errors=(kernel_line(25 * 60),), kills=(OomKill(9, "python3", seconds=5.0),)),
        [],
    ),
    "old errors that are wanted": (
        settings(checks={"kernel_log": {"hours": 0}}),
        lambda n: n.alter("kernel-log", errors=(kernel_line(25 * 60),)),
        ["warn N32 the NPU driver of device 3 reported an error (25 h ago): heart beat lost"],
    ),
    "many kinds of errors": (
        A3,
        lambda n: n.alter("kernel-log", errors=tuple(kernel_line(m, "x" * m + " failed") for m in range(1, 9))),
        [
            *["warn N32 the NPU driver of device 3"] * 5,
            "warn N32 the NPU driver reported 3 more kinds of errors: xxxxxx f",
        ],
    ),
    "a server ended for lack of memory": (
        CPU,
        lambda n: n.alter(
            "kernel-log",
            kills=(OomKill(7, "mysqld", time="Nov 24 11:00:00"), OomKill(8, "VLLM::Worker_TP", time="Nov 24 11:00:00")),
        ),
        ["warn N32 the kernel ended VLLM::Worker_TP (8) for lack of main memory, last 60 min ago"],
    ),
    "a log that may not be read": (A3, lambda n: n.alter("kernel-log", source=None, problems=("dmesg: no",)), []),
    "an alarm on a die that is not used": (
        settings(devices=tuple(range(8))),
        lambda n: dies(n, 12, health="Alarm"),
        [],
    ),
    "a control device missing": (A3, lambda n: n.alter("davinci", hisi_hdc=False), ["fail N08 missing: /dev/hisi_hdc"]),
    "a folder where a device should be": (
        A3,
        lambda n: n.alter("davinci", devmm_svm=False, not_devices=("/dev/devmm_svm",)),
        ["fail N08 no device but something else: /dev/devmm_svm"],
    ),
    "a foreign process": (
        A3,
        busy,
        ["fail N09 process 4242 (python3 train.py) of root uses davinci 0-1 (NPU 0), 59000 MB on each"],
    ),
    "a foreign container and its process": (
        A3,
        foreign_container,
        ["fail N09 container other has davinci 0-1 (NPU 0)"],
    ),
    "a process table that is cut off": (
        A3,
        lambda n: n.alter("npu-smi", problems=("the process table is cut off: who uses the NPUs is unknown",)),
        ["warn N09 npu-smi does not tell all processes: the process table is cut off"],
    ),
    "a monitor that is privileged": (A3, exporter, []),
    "memory that nobody explains": (
        A3,
        lambda n: dies(n, 6, 7, hbm_used_mb=10568),
        ["fail N09 davinci 6-7 (NPU 3): memory is in use and no process is shown"],
    ),
    "our own server": (A3, our_server, []),
    "our own server, its pids unseen": (A3, our_server_unseen, []),
    "our server ended, memory stays": (A3, our_server_ended, ["fail N09 davinci 0-15 (NPU 0-7): memory is in use"]),
    "driver file missing": (
        A3,
        lambda n: n.alter("driver", driver=None),
        ["fail N10 the driver's version cannot be read"],
    ),
    "firmware too new": (
        A3,
        lambda n: n.alter("driver", firmware=FirmwareVersion("7.9.0.1.100")),
        ["warn N10 firmware 7.9.0.1.100 is not one that driver 25.5.1 works with", "warn X03"],
    ),
    "driver not loaded": (
        A3,
        lambda n: n.alter("npu-smi", driver_version="25.2.0"),
        ["warn N10 driver 25.2.0 runs, 25.5.1 is installed"],
    ),
    "another driver than the other node": (
        A3,
        lambda n: n.alter("driver", driver=DriverVersion("25.5.1.b030")),
        ["warn X03 driver or firmware differ"],
    ),
    "a mount source that Docker made": (
        A3,
        lambda n: n.alter(
            "mount-sources",
            sources=tuple(
                replace(s, kind="dir") if s.path == "/etc/ascend_install.info" else s
                for s in n.facts["mount-sources"].sources
            ),
        ),
        ["fail N11 /etc/ascend_install.info is a folder, not a file"],
    ),
    "little room to pull": (
        A3,
        lambda n: n.alter("docker", root_free=30 * GIB),
        ["warn N13 /var/lib/docker has 30.0 GB free to pull the image"],
    ),
    "no room to pull": (
        CPU,
        lambda n: n.alter("docker", root_free=GIB),
        ["fail N13 /var/lib/docker has 1.0 GB free to pull the image"],
    ),
    "state folder full": (A3, lambda n: state_disk(n, free=1024), ["fail N13 /var/lib/qnext has 0 MB free"]),
    "state folder read-only": (A3, lambda n: state_disk(n, read_only=True), ["fail N13 /var/lib/qnext is on a file"]),
    "no inodes": (A3, lambda n: state_disk(n, free_inodes=3), ["fail N13 /var/lib/qnext has 3 free inodes"]),
    "little memory": (
        A3,
        lambda n: n.alter("memory", available=20 * GIB),
        ["warn N14 20.0 GB of main memory are available, 64.0 GB are advised"],
    ),
    "no model": (
        A3,
        lambda n: n.facts.update({"model-folder": model(exists=False, digest="", shards=(), size=0)}),
        ["fail N15 no folder /data/weights/Qwen3-Next"],
    ),
    "a missing shard": (
        A3,
        lambda n: n.facts.update(
            {"model-folder": model(shards=model().shards[:2], missing=("model-3-of-3.safetensors",))}
        ),
        ["fail N15 /data/weights/Qwen3-Next: 1 of 3 shards are missing: model-3-of-3.safetensors"],
    ),
    "a shard cut short": (
        A3,
        lambda n: n.facts.update(
            {"model-folder": model(shards=(Shard("a.safetensors", 10, 1000, 2),), truncated=("a.safetensors",))}
        ),
        ["fail N15 /data/weights/Qwen3-Next: cut short or damaged: a.safetensors (10 of 1000 bytes)"],
    ),
    "no tokenizer": (
        A3,
        lambda n: n.facts.update({"model-folder": model(tokenizer=False, problems=("no tokenizer file",))}),
        ["fail N15 /data/weights/Qwen3-Next: no tokenizer file"],
    ),
    "a stale mount under the model": (
        A3,
        lambda n: n.facts.update({"model-folder": model(exists=False, problems=("no answer within 60 s",))}),
        ["fail N15 the probe model-folder: no answer within 60 s"],
    ),
    "another model": (
        A3,
        lambda n: n.facts.update({"model-folder": model(digest="d2")}),
        ["fail X04 the model on atlas-2 is not that of atlas-1: config.json or the index differs"],
    ),
    "address of nobody": (
        settings(data_address="10.9.9.9"),
        lambda n: None,
        ["fail N16 no interface has the address 10.9.9.9", "fail N16 no interface has the address 10.9.9.9"],
    ),
    "interface down": (
        A3,
        lambda n: network(n, replace(ETH, state="down"), ssh="10.0.0.1"),
        ["fail N16 interface eth0 with 10.0.0.1 is down"],
    ),
    "loopback among several": (
        A3,
        lambda n: network(n, Interface("lo", "unknown", addresses=(Address("127.0.0.1", 8),)), ssh="127.0.0.1"),
        ["fail N16 127.0.0.1 (lo) cannot be reached by the other nodes"],
    ),
    "name leads to loopback": (
        A3,
        lambda n: n.alter("network", hostname_addresses=("127.0.1.1",)),
        ["warn N17 the node's own name atlas-1 leads to 127.0.1.1"],
    ),
    "name lookup hangs": (
        A3,
        lambda n: n.alter("network", hostname_addresses=(), lookup_timed_out=True),
        ["warn N17 looking up the node's own name atlas-1 takes more than 3 s"],
    ),
    "port taken": (
        A3,
        lambda n: n.alter("ports", listeners=(Listener("127.0.0.1", 8000, 99, "nginx"),)),
        ["fail N18 port 8000 (API) is taken by nginx (pid 99)"],
    ),
    "HCCL port taken": (
        A3,
        lambda n: n.alter("ports", listeners=(Listener("0.0.0.0", 60000),)),
        ["warn N18 port 60000, where HCCL negotiates, is taken by a process that cannot be named"],
    ),
    "links down on A3": (
        A3,
        lambda n: links(n, *range(16), link="DOWN", net_health="Fault"),
        ["warn N20 NPU network link is down on davinci 0-15"],
    ),
    "link down on A2": (
        A2,
        lambda n: links(n, 3, link="DOWN", net_health="Fault"),
        ["fail N20 NPU network link is down on davinci 3"],
    ),
    "no detection address on A2": (
        A2,
        lambda n: links(n, *range(8), net_health="Init"),
        ["warn N20 NPU network health is Init on davinci 0-7"],
    ),
    "no address on A2": (A2, lambda n: links(n, 5, address=None), ["fail N20 no NPU network address on davinci 5"]),
    "no address on A3 at all": (A3, lambda n: links(n, *range(16), address=None), []),
    "TLS differs": (A3, lambda n: links(n, *range(16), tls=1), ["fail X05 the NPUs' TLS switch is not the same"]),
    "TLS differs within a node": (
        A2,
        lambda n: links(n, 2, tls=1),
        ["fail X05 the NPUs' TLS switch is not the same everywhere: mixed (on for davinci 2)"],
    ),
    "one full disk under both": (
        A3,
        lambda n: (n.alter("docker", root_free=4096), state_disk(n, free=4096)),
        ["fail N13 /var/lib/docker has 0 MB free to pull the image"],
    ),
    "left-over server": (
        CPU,
        lambda n: n.facts.update(
            {"processes": ProcessesValue((ServerProcess(9, args="vllm serve m"), ServerProcess(8, container="c" * 64)))}
        ),
        ["warn N21 1 server process runs outside of containers: 9 vllm serve m"],
    ),
    "a proxy for containers": (
        CPU,
        lambda n: n.facts.update(
            {"proxy": ProxyValue({"httpProxy": "http://p:3128", "noProxy": "localhost"}, "/root/.docker/config.json")}
        ),
        ["warn N22 /root/.docker/config.json puts httpProxy into every container, and noProxy lacks 10.0.0.1"],
    ),
    "a proxy with exceptions": (
        CPU,
        lambda n: n.facts.update({"proxy": ProxyValue({"httpProxy": "x", "noProxy": "10.0.0.1, 10.0.0.2"})}),
        [],
    ),
    "forwarding forbidden": (
        CPU,
        lambda n: setattr(n, "server", Server(Response(0, error="sshd forbids it", hint="AllowTcpForwarding yes"))),
        ["fail N30 sshd forbids it"],
    ),
    "an older Docker": (
        CPU,
        lambda n: n.alter("docker", server_version="20.10.24"),
        ["warn X13 Docker is not the same everywhere"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_ill_node_gives_its_findings_and_no_others(name: str) -> None:
    own, make_ill, wanted = CASES[name]
    two = pair(own)
    make_ill(two.nodes[0] if name != "another model" else two.nodes[1])
    found = [f"{f.level} {f.code} {f.summary}" for f in findings(two)]
    assert [text[: len(start)] for text, start in zip(found, wanted, strict=False)] == wanted
    assert len(found) == len(wanted), found


def test_every_finding_names_a_node_and_a_remedy() -> None:
    for own, make_ill, _ in CASES.values():
        two = pair(own)
        make_ill(two.nodes[0])
        for finding in findings(two):
            assert finding.node, finding
            assert finding.remedy, finding
            assert finding.check, finding


@pytest.mark.parametrize("own", [A3, A2, CPU], ids=["a3", "a2", "cpu"])
def test_healthy_nodes_have_no_findings(own: Any) -> None:
    assert findings(pair(own)) == []
    assert findings(cluster(healthy(0, own))) == []


def test_an_a2_box_with_sixteen_devices_is_fine() -> None:
    node = healthy(0, A2)
    table = tuple(replace(d, npu=n, device=n) for n, d in enumerate(node.facts["npu-smi"].dies * 2))
    node.alter("npu-smi", dies=table)
    chips = node.facts["npu-smi-mapping"].chips
    node.alter("npu-smi-mapping", chips=tuple(replace(chips[0], npu=n, logic_id=n) for n in range(16)))
    node.alter("davinci", devices=tuple(range(16)))
    assert findings(cluster(node)) == []


def test_what_only_matters_between_nodes_is_left_alone_on_one() -> None:
    node = healthy()
    links(node, *range(16), link="DOWN", tls=1)
    node.alter("network", hostname_addresses=("127.0.1.1",))
    network(node, Interface("lo", "unknown", addresses=(Address("127.0.0.1", 8),)), ssh="127.0.0.1")
    assert findings(cluster(node)) == []


def test_images_that_differ_are_found_before_the_pull() -> None:
    two = pair()
    with_image(two.nodes[0])
    with_image(two.nodes[1], id="sha256:" + "2" * 64)
    (finding,) = findings(two)
    assert finding.code == "X02"
    assert "111111111111 on atlas-1; 222222222222 on atlas-2" in finding.summary


def test_workers_need_no_fixed_port() -> None:
    two = pair()
    two.nodes[1].alter("ports", listeners=(Listener("0.0.0.0", 8000, 5, "nginx"),))
    assert findings(two) == []


def test_clocks_are_read_again_only_where_they_seem_to_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: 1_790_000_000.0)
    two = pair()
    findings(two)
    assert [node.observed for node in two.nodes] == [0, 0]
    two.nodes[1].facts["clock"] = ClockValue(epoch=1_790_000_030.0)
    two.nodes[1].later = {"clock": ClockValue(epoch=1_790_000_000.4)}
    assert findings(two) == []
    assert [node.observed for node in two.nodes] == [1, 1]


@pytest.mark.parametrize(
    ("epoch", "when", "looks", "told"),
    [
        (104.0, (100.0, 100.1), 1, "differ by 3.9 s"),
        (104.0, (104.0, 104.1), 0, ""),
        (104.0, (100.0, 103.9), 0, ""),
        (101.5, (100.0, 100.2), 1, "differ by 1.3 s"),
        (100.9, (100.0, 100.0), 0, ""),
        (96.0, (100.0, 100.1), 1, "differ by 4.0 s"),
    ],
    ids=["ahead", "told later", "told some time", "a little", "within a second", "behind"],
)
def test_clocks_differ_by_what_the_times_of_the_looks_leave_unexplained(
    monkeypatch: pytest.MonkeyPatch, epoch: float, when: tuple[float, float], looks: int, told: str
) -> None:
    monkeypatch.setattr(clock, "now", lambda: 100.0)
    two = pair()
    two.nodes[0].facts["clock"] = ClockValue(epoch=100.0, when=(100.0, 100.0))
    two.nodes[1].facts["clock"] = ClockValue(epoch=epoch, when=when)
    found = [finding for finding in findings(two) if finding.code == "X08"]
    assert [node.observed for node in two.nodes] == [looks, looks]
    assert [told in finding.summary and finding.node == "atlas-2" for finding in found] == [True] * looks


def test_clocks_may_differ_by_what_the_operator_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: 100.0)
    two = pair(settings(checks={"clock": {"seconds": 5}}))
    two.nodes[1].facts["clock"] = ClockValue(epoch=104.0)
    assert [finding for finding in findings(two) if finding.code == "X08"] == []


@pytest.mark.parametrize(("here", "odd"), [(1_790_000_000.0, "atlas-2"), (1_790_000_300.0, "atlas-1")])
def test_clocks_that_really_differ_are_told(monkeypatch: pytest.MonkeyPatch, here: float, odd: str) -> None:
    monkeypatch.setattr(clock, "now", lambda: here)
    two = pair()
    two.nodes[0].facts["clock"] = ClockValue(epoch=1_790_000_000.0)
    two.nodes[1].facts["clock"] = ClockValue(epoch=1_790_000_300.0)
    (finding,) = findings(two)
    assert (finding.code, finding.level, finding.node) == ("X08", "warn", odd)
    assert "differ by 300 s" in finding.summary


def test_a_node_that_hangs_does_not_keep_back_the_others() -> None:
    two = pair()
    two.nodes[0].alter("network", problems=("no answer within 10 s",))
    network(two.nodes[1], Interface("lo", "unknown", addresses=(Address("127.0.0.1", 8),)), ssh="127.0.0.1")
    told = {(f.node, f.summary.split(":")[0][:30]) for f in findings(two) if f.code == "N16"}
    assert told == {("atlas-2", "127.0.0.1 (lo) cannot be reach"), ("atlas-1", "the probe network")}


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 3, 8), "0-3, 8"), ((5, 4, 4), "4-5"), ((1, 3), "1, 3")]
)
def test_spans(numbers: tuple[int, ...], text: str) -> None:
    assert span(numbers) == text


def test_devices_to_go_on_with_are_whole_modules() -> None:
    node = healthy()
    node.alter("davinci", devices=(0, 1, 2, *range(4, 16)))
    node.alter("npu-smi-mapping", chips=tuple(c for c in node.facts["npu-smi-mapping"].chips if c.device != 3))
    (finding,) = findings(cluster(node))
    assert "qnext.devices: [0, 1, 4, 5, 6," in finding.remedy
    dies(node, 7, health="Alarm")
    (ill,) = (f for f in findings(cluster(node)) if f.code == "N07")
    assert "to go without: qnext.devices: [0, 1, 4, 5, 8, 9," in ill.remedy
