"""What can be wrong with a node of ``tests.checks.world``, a function each: it changes the facts, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from provision.accel.ascend.npu_smi import NpuProcess
from provision.facts.davinci import DavinciValue
from provision.facts.docker import ContainersValue, DockerValue, ImageValue
from provision.facts.driver import SOURCES, DriverValue, MountSource, MountSourcesValue
from provision.facts.files import ListingValue
from provision.facts.hccn import HccnValue
from provision.facts.network import Interface, Listener
from provision.facts.npu_smi import Holder, NpuSmiMappingValue, NpuSmiValue

from .world import GIB, IMAGE, FakeNode, disk, foreign, ours


def dies(node: FakeNode, *numbers: int, **changes: Any) -> None:
    table = node.facts["npu-smi"].dies
    node.alter("npu-smi", dies=tuple(replace(d, **changes) if d.device in numbers else d for d in table))


def details(node: FakeNode, *numbers: int, **changes: Any) -> None:
    dies = node.facts["npu-detail"].dies
    node.alter("npu-detail", dies=tuple(replace(d, **changes) if d.device in numbers else d for d in dies))


def fell_off_the_bus(node: FakeNode, *numbers: int) -> None:
    bus = node.facts["pci"].devices
    node.alter("pci", devices=tuple(device for number, device in enumerate(bus) if number not in numbers))


def links(node: FakeNode, *numbers: int, **changes: Any) -> None:
    devices = node.facts["hccn"].devices
    node.alter("hccn", devices=tuple(replace(d, **changes) if d.device in numbers else d for d in devices))


def no_driver(node: FakeNode) -> None:
    missing = tuple(MountSource(path, "missing", kind) for path, kind in SOURCES.items())
    node.facts |= {
        "davinci": DavinciValue(),
        "npu-smi": NpuSmiValue(problems=("npu-smi was found neither in PATH nor elsewhere",)),
        "npu-smi-mapping": NpuSmiMappingValue(problems=("npu-smi was found neither in PATH nor elsewhere",)),
        "driver": DriverValue(),
        "mount-sources": MountSourcesValue(missing),
        "hccn": HccnValue(problems=("hccn_tool was not found",)),
    }


def no_npu_smi(node: FakeNode) -> None:
    sources = node.facts["mount-sources"].sources
    gone = tuple(replace(s, kind="missing") if "npu-smi" in s.path else s for s in sources)
    node.facts |= {
        "npu-smi": NpuSmiValue(problems=("npu-smi was found neither in PATH nor elsewhere",)),
        "npu-smi-mapping": NpuSmiMappingValue(problems=("npu-smi was found neither in PATH nor elsewhere",)),
        "mount-sources": MountSourcesValue(gone),
    }


def a_die_lost_its_rows(node: FakeNode) -> None:
    node.alter("npu-smi", dies=node.facts["npu-smi"].dies[:15])


def npu_smi_hangs(node: FakeNode) -> None:
    hangs = ("npu-smi hangs: no answer within 30 s",)
    node.facts["npu-smi"] = NpuSmiValue("/usr/local/bin/npu-smi", problems=hangs)
    node.facts["npu-smi-mapping"] = NpuSmiMappingValue("/usr/local/bin/npu-smi", problems=hangs)


def npu_smi_refuses(node: FakeNode) -> None:
    said = ("npu-smi ended with exit status 187", "dcmi module initialize failed. ret is -8005")
    node.facts["npu-smi"] = NpuSmiValue("/usr/local/bin/npu-smi", problems=said)
    node.facts["npu-smi-mapping"] = NpuSmiMappingValue("/usr/local/bin/npu-smi", problems=said)


def a_card_is_dead(node: FakeNode) -> None:
    node.alter("davinci", devices=tuple(range(14)))
    node.alter("npu-smi", dies=node.facts["npu-smi"].dies[:14])
    node.alter("npu-smi-mapping", chips=node.facts["npu-smi-mapping"].chips[:14])


def a_card_left_the_table(node: FakeNode) -> None:
    node.alter("npu-smi", dies=node.facts["npu-smi"].dies[:14])
    node.alter("npu-smi-mapping", chips=node.facts["npu-smi-mapping"].chips[:14])


def busy(node: FakeNode, *, container: str = "", holder: bool = True, **more: Any) -> None:
    """A process on dies 0 and 1, in a container or not; ``more`` of its holder."""
    rows = tuple(NpuProcess(0, chip, 4242, "python3.1", 59000) for chip in (0, 1))
    holders = (Holder(4242, "root", "python3 train.py", container, **more),) if holder else ()
    node.alter("npu-smi", processes=rows, holders=holders)
    dies(node, 0, 1, hbm_used_mb=62000)


def foreign_container(node: FakeNode) -> None:
    busy(node, container="b" * 64)
    node.facts["containers"] = ContainersValue(foreign=(foreign(devices=(0, 1)),), reachable=True)


def exporter(node: FakeNode) -> None:
    node.facts["containers"] = ContainersValue(foreign=(foreign(privileged=True),), reachable=True)


def our_server(node: FakeNode) -> None:
    busy(node, container="a" * 64)
    container = ours(devices=tuple(range(16)))
    node.facts["containers"] = ContainersValue((container,), reachable=True)
    dies(node, *range(16), hbm_used_mb=60000)
    node.alter("ports", listeners=(Listener("0.0.0.0", 8000, 77, "vllm"), Listener("0.0.0.0", 13389, 77, "vllm")))
    node.alter("memory", available=GIB)
    node.facts["listing"] = ListingValue("/var/lib/qnext/qnext/launch", True, ("head.sh",))


def our_server_unseen(node: FakeNode) -> None:
    our_server(node)
    busy(node, holder=False)


def our_server_ended(node: FakeNode) -> None:
    our_server(node)
    node.facts["containers"] = ContainersValue((ours("exited"),), reachable=True)
    node.alter("npu-smi", processes=())
    node.alter("ports", listeners=())
    node.alter("memory", available=900 * GIB)


def network(node: FakeNode, *interfaces: Interface, ssh: str | None = None) -> None:
    node.alter("network", interfaces=interfaces, ssh_server_address=ssh, default_interface=None)


def with_image(node: FakeNode, **changes: Any) -> None:
    value = ImageValue(IMAGE, True, "sha256:" + "1" * 64, "arm64", env={"SOC_VERSION": "ascend910_9391"})
    node.facts["image"] = replace(value, **changes)


def no_docker(node: FakeNode) -> None:
    node.facts["docker"] = DockerValue(error="docker is not installed")
    node.facts["containers"] = ContainersValue(problems=("docker is not installed",))
    node.facts["image"] = ImageValue(IMAGE, problems=("docker is not installed",))


def docker_denied(node: FakeNode) -> None:
    said = "permission denied while trying to connect to the Docker daemon socket"
    node.facts["docker"] = DockerValue(installed=True, error=said)
    node.facts["containers"] = ContainersValue(problems=(said,))
    node.facts["image"] = ImageValue(IMAGE, problems=(said,))


def state_disk(node: FakeNode, **changes: Any) -> None:
    node.facts["disk"] = disk(node.settings, **changes)
