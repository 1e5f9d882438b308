"""Nodes as checks see them, without a connection: a healthy one, and everything about it can be made ill."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from provision import clock
from provision.accel.ascend.driver import AscendInstall, DriverVersion, FirmwareVersion
from provision.accel.ascend.hccn import HccnAddress
from provision.accel.ascend.npu_smi import Die, MappedChip
from provision.accel.ascend.npu_smi_sections import ChipEcc
from provision.accel.ascend.pci import PciDevice
from provision.actions import JobProgress
from provision.errors import ProvisionError
from provision.events import Event
from provision.facts.authorized_keys import AuthorizedKeysValue
from provision.facts.base import Fact
from provision.facts.cann import CannValue
from provision.facts.clusters import ClustersValue
from provision.facts.davinci import DavinciValue
from provision.facts.disk import DiskValue, Folder
from provision.facts.docker import Container, ContainersValue, DockerValue, ImageValue
from provision.facts.driver import SOURCES, DriverValue, MountSource, MountSourcesValue
from provision.facts.files import ListingValue
from provision.facts.firewall import FirewallValue, Rules
from provision.facts.hccn import HccnConfValue, HccnDevice, HccnValue
from provision.facts.hccn_detail import HccnDetailDevice, HccnDetailValue
from provision.facts.hccs import HccsValue
from provision.facts.kernel_log import KernelLogValue
from provision.facts.limits import UNLIMITED, Limit, LimitsValue, Rlimits
from provision.facts.logs import LogTailsValue
from provision.facts.model import ModelConfig, ModelFolderValue, Shard
from provision.facts.network import Address, Interface, Listener, NetworkValue, PortsValue
from provision.facts.npu_detail import DieDetail, NpuDetailValue
from provision.facts.npu_smi import NpuSmiMappingValue, NpuSmiValue
from provision.facts.pci import PciValue
from provision.facts.processes import ProcessesValue
from provision.facts.proxy import ProxyValue
from provision.facts.services import ServicesValue
from provision.facts.shm import SharedMemoryValue
from provision.facts.sysctl import SysctlValue
from provision.facts.system import ClockValue, CpuValue, IdentityValue, MemoryValue, OsValue
from provision.facts.timesync import TimeSyncValue
from provision.facts.tuning import TuningValue
from provision.facts.weights import VerifiedValue
from provision.http import Response
from provision.inventory.model import Connection, Hardware, Host, Install, Inventory, Model, Serve, Settings
from provision.node import Restart
from provision.results import Result
from provision.serve import launch

GIB = 1024**3
MODEL = "/data/weights/Qwen3-Next"
IMAGE = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
OPEN = Rules("accept", "accept")


def settings(hardware: Hardware = "atlas-800-a3", *, topology: Any = "data-parallel", **more: Any) -> Settings:
    """A cluster's settings; ``more`` are keys of ``qnext``."""
    image = {"atlas-800-a3": IMAGE, "atlas-800-a2": IMAGE.removesuffix("-a3"), "cpu": "registry/vllm-cpu:1"}[hardware]
    plain: dict[str, Any] = {
        "cluster": "qnext",
        "hardware": hardware,
        "install": Install(image=image),
        "model": Model(path=MODEL),
        "serve": Serve(topology=topology, data_parallel_size=2, tensor_parallel_size=8),
    }
    return Settings(**{**plain, **more})


def inventory(own: Settings, hosts: int = 2) -> Inventory:
    """``hosts`` hosts with equal settings."""
    made = tuple(Host(f"atlas-{n + 1}", n, ("all",), Connection(host=f"10.0.0.{n + 1}"), own, {}) for n in range(hosts))
    return Inventory("cluster.yaml", made, {})


@dataclass
class Server:
    """What listens on a node's port."""

    answer: Response = field(default_factory=lambda: Response(0, error="nothing listens on 127.0.0.1:1"))
    pages: dict[str, Response] = field(default_factory=dict)
    chunks: tuple[str, ...] = ()
    token: str = ""

    def get(self, path: str, *, timeout: float = 10.0, token: str = "") -> Response:
        locked = self.token and path.startswith("/v1") and token != self.token
        return Response(401) if locked else self.pages.get(path, self.answer)

    def post(self, path: str, payload: Any, *, timeout: float = 120.0, token: str = "") -> Response:
        known = payload["model"] in self.pages["/v1/models"].text()
        return self.pages[path] if known else Response(404, b'{"error": {"message": "no such model"}}')

    def stream(self, path: str, payload: Any, *, timeout: float = 120.0, token: str = "") -> Iterator[str]:
        return iter(self.chunks)


@dataclass
class FakeNode:
    """``facts`` by fact name; an exception there is raised. ``observed`` counts looks beyond the first."""

    index: int
    settings: Settings
    facts: dict[str, Any]
    server: Server = field(default_factory=Server)
    servers: dict[int, Server] = field(default_factory=dict)
    """Others by port."""
    observed: int = 0
    later: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"atlas-{self.index + 1}"

    def get(self, fact: Fact[Any]) -> Any:
        value = self.facts[fact.name]
        if isinstance(value, ProvisionError):
            raise value
        return value

    def observe(self, facts: Iterable[Fact[Any]]) -> None:
        self.observed += 1
        self.facts |= self.later

    def http(self, port: int, *, host: str = "127.0.0.1") -> Server:
        return self.servers.get(port, self.server)

    def alter(self, name: str, **changes: Any) -> FakeNode:
        """Change fields of a fact's value."""
        self.facts[name] = replace(self.facts[name], **changes)
        return self

    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        raise AssertionError("checks look at facts only")

    def stream(self, script: str, *, deadline: float | None = None) -> Iterator[str]:
        raise AssertionError("checks look at facts only")

    def progress(self, progress: JobProgress) -> None: ...

    def keep(self, name: str, text: str) -> None: ...


@dataclass
class FakeCluster:
    """``told`` are the events that were told, ``earlier`` what earlier starts took."""

    nodes: Sequence[FakeNode]
    told: list[Event] = field(default_factory=list)
    earlier: dict[str, float] = field(default_factory=dict)
    restarts: list[Restart] = field(default_factory=list)
    hosts: Sequence[Host] = ()
    folder: Path | None = None

    @property
    def settings(self) -> Settings:
        return self.nodes[0].settings

    def each(self, do: Callable[[Any], Any]) -> dict[str, Any]:
        return {node.name: do(node) for node in self.nodes}

    def tell(self, event: Event) -> None:
        self.told.append(event)

    def pause(self, seconds: float) -> None:
        clock.sleep(seconds)

    def usual(self, launch: str) -> Mapping[str, float]:
        return self.earlier


def cluster(*nodes: FakeNode) -> Any:
    return FakeCluster(nodes)


def pair(own: Settings | None = None) -> Any:
    """Two healthy nodes."""
    own = own or settings()
    return cluster(healthy(0, own), healthy(1, own))


def launched(own: Settings | None = None) -> Any:
    """Two healthy nodes whose servers run."""
    two = pair(own)
    plan = launch.observed(two).plan
    for process, node in zip(plan.processes, two.nodes, strict=True):
        own_container = ours(process=process.name, rank=process.rank, devices=process.devices)
        node.facts["containers"] = ContainersValue((own_container,), reachable=True)
        node.facts["log-tails"] = LogTailsValue({process.name: "INFO 11-24 06:00:00 [core.py:1] fine\n"})
    two.nodes[0].server = serving(plan.served_name, plan.engines)
    return two


def serving(name: str, engines: int = 1, *, drafted: int = 100, accepted: int = 80) -> Server:
    """A server that answers everything rightly."""
    reply = {"choices": [{"message": {"content": "I am Qwen."}}], "usage": {"completion_tokens": 4}}
    metrics = "".join(
        f'vllm:generation_tokens_total{{engine="{n}"}} 64\nvllm:spec_decode_num_draft_tokens_total{{engine="{n}"}} '
        f'{drafted}\nvllm:spec_decode_num_accepted_tokens_total{{engine="{n}"}} {accepted}\n'
        for n in range(engines)
    )
    pages = {
        "/health": Response(200),
        "/v1/models": Response(200, json.dumps({"data": [{"id": name}]}).encode()),
        "/metrics": Response(200, metrics.encode()),
        "/v1/chat/completions": Response(200, json.dumps(reply).encode()),
    }
    return Server(Response(404), pages, (json.dumps({"choices": [{"delta": {"content": "Hi"}}]}), "[DONE]"))


def with_image(two: Any) -> Any:
    """The same nodes, the image on each."""
    for node in two.nodes:
        node.alter("image", present=True, id="sha256:1")
    return two


def healthy(index: int = 0, own: Settings | None = None) -> FakeNode:
    """A node on which nothing is wrong: an Atlas of the settings' family, or a machine without NPUs."""
    own = own or settings()
    address = f"10.0.0.{index + 1}"
    facts: dict[str, Any] = {
        "identity": IdentityValue(uid=0, user="root", root=True),
        "os": OsValue(id="openeuler", arch="aarch64", hostname=f"atlas-{index + 1}"),
        "memory": MemoryValue(total=1024 * GIB, available=900 * GIB),
        "cpu": CpuValue(192, "TaiShan v120"),
        "log-tails": LogTailsValue(),
        "clock": ClockValue(epoch=clock.now() + index * 0.2),
        "docker": _docker(),
        "containers": ContainersValue(reachable=True),
        "image": ImageValue(own.install.image, present=False),
        "disk": disk(own),
        "network": _network(index, address),
        "ports": PortsValue((Listener("0.0.0.0", 22, 1, "sshd"),)),
        "model-folder": model(),
        "weights": VerifiedValue("/data/w"),
        "processes": ProcessesValue(),
        "shared-memory": SharedMemoryValue(),
        "listing": ListingValue("/var/lib/qnext/qnext/launch"),
        "authorized-keys": AuthorizedKeysValue(),
        "clusters": ClustersValue(),
        "proxy": ProxyValue(),
        "kernel-log": KernelLogValue("dmesg", now="2026-11-24T12:00:00", uptime=864000.0),
        **_system(),
    }
    return FakeNode(index, own, facts | (_npus(own, index) if own.hardware != "cpu" else {}))


def disk(own: Settings, **changes: Any) -> DiskValue:
    """All that is looked at lies on one file system; ``changes`` are of the state folder."""
    folder = Folder(own.state_dir, True, "/", "/dev/sda1", "/", 500 * GIB, 200 * GIB, 32_000_000, 31_000_000)
    others = (own.model.path, "/var/lib/docker", "/tmp")
    return DiskValue((replace(folder, **changes), *(replace(folder, path=path) for path in others)))


def _system() -> dict[str, Any]:
    """An operating system that is tuned and closes nothing."""
    kernel = {
        "kernel.numa_balancing": "0",
        "net.ipv4.ip_local_port_range": "32768 60999",
        "net.ipv4.ip_local_reserved_ports": "60000-60031",
        "vm.max_map_count": "655360",
        "vm.swappiness": "0",
    }
    files, memory = Limit(1048576, 1048576), Limit(UNLIMITED, UNLIMITED)
    return {
        "sysctl": SysctlValue(kernel),
        "limits": LimitsValue(shell=Rlimits(files, memory), dockerd=Rlimits(files, memory)),
        "tuning": TuningValue({"performance": 80}),
        "time-sync": TimeSyncValue(True, "chronyd", "10.0.0.254", 0.000012, 3, "UTC"),
        "firewall": FirewallValue(firewalld=False, ufw=False, rules=OPEN, selinux="disabled", rules6=OPEN),
    }


def _docker() -> DockerValue:
    return DockerValue(
        installed=True,
        reachable=True,
        client_version="27.1.1",
        server_version="27.1.1",
        root_dir="/var/lib/docker",
        root_free=200 * GIB,
        arch="aarch64",
    )


def _network(index: int, address: str) -> NetworkValue:
    return NetworkValue(
        hostname=f"atlas-{index + 1}",
        hostname_addresses=(address,),
        interfaces=(
            Interface("lo", "unknown", addresses=(Address("127.0.0.1", 8),)),
            Interface("eth0", "up", addresses=(Address(address, 24),)),
            Interface("docker0", "down", addresses=(Address("172.17.0.1", 16),)),
        ),
        default_interface="eth0",
        ssh_server_address=address,
    )


def model(**changes: Any) -> ModelFolderValue:
    """A whole folder of weights."""
    shards = tuple(Shard(f"model-{n}-of-3.safetensors", 1000, 1000, 100) for n in (1, 2, 3))
    value = ModelFolderValue(
        path=MODEL,
        exists=True,
        config=ModelConfig(model_type="qwen3_next"),
        tokenizer=True,
        index=True,
        shards=shards,
        size=3000,
        digest="d1",
    )
    return replace(value, **changes)


def dies(own: Settings) -> tuple[Die, ...]:
    """The table of a healthy, idle node."""
    if own.hardware == "atlas-800-a2":
        return tuple(_die(n, 0, n, "910B3") for n in range(8))
    return tuple(_die(n // 2, n % 2, n, "Ascend910", phy_id=n) for n in range(16))


def _die(npu: int, chip: int, device: int, name: str, phy_id: int | None = None) -> Die:
    bus = f"0000:{0x81 + 2 * device:02X}:00.0"
    return Die(npu, chip, phy_id, name, "OK", None, 41, bus, hbm_used_mb=3100, hbm_total_mb=65536, device=device)


WHEN_NEEDED = frozenset({"hccs", "authorized-keys"})
"""Facts that no check asks for up front: they are observed where something else makes them worth their time."""


def _has_pods(own: Settings) -> bool:
    return own.hardware == "atlas-800-a3"


def _npus(own: Settings, index: int) -> dict[str, Any]:
    table = dies(own)
    numbers = tuple(range(len(table)))
    sources = tuple(MountSource(path, "missing" if "sbin" in path else kind, kind) for path, kind in SOURCES.items())
    return {
        "davinci": DavinciValue(numbers, True, True, True),
        "npu-detail": NpuDetailValue(
            "/usr/local/bin/npu-smi",
            tuple(
                DieDetail(cast("int", d.npu), cast("int", d.chip), d.device, d.name, "OK", ecc=ChipEcc(d.chip))
                for d in table
            ),
        ),
        "pci": PciValue("lspci", tuple(PciDevice((d.bus_id or "").lower(), "d803", "A3") for d in table)),
        "npu-smi": NpuSmiValue("/usr/local/bin/npu-smi", "25.5.1", "25.5.1", table),
        "npu-smi-mapping": NpuSmiMappingValue(
            "/usr/local/bin/npu-smi",
            tuple(MappedChip(cast("int", d.npu), cast("int", d.chip), d.device, d.phy_id, d.name) for d in table),
        ),
        "driver": DriverValue(
            DriverVersion("25.5.1", firmware_range=("7.0.0", "7.8.99")),
            FirmwareVersion("7.8.0.6.201"),
            AscendInstall(driver_status="complete"),
        ),
        "cann": CannValue(),
        "mount-sources": MountSourcesValue(sources, "/usr/local/bin/npu-smi"),
        "hccn": HccnValue(
            "/usr/local/Ascend/driver/tools/hccn_tool",
            tuple(HccnDevice(n, "UP", "Success", f"29.1.{index}.{n + 1}", "255.255.0.0", 0) for n in numbers),
        ),
        "services": ServicesValue({"chronyd": 812}, "cgroup"),
        "hccn-conf": HccnConfValue(
            True,
            tuple(HccnAddress(n, f"29.1.{index}.{n + 1}", "255.255.0.0", "29.1.0.254", "29.1.0.254") for n in numbers),
        ),
        "hccn-detail": HccnDetailValue(
            "/usr/local/Ascend/driver/tools/hccn_tool",
            tuple(HccnDetailDevice(n, "29.1.0.254", f"eth{n}", "29.1.0.254", f"400GE1/1/{n}", "leaf") for n in numbers),
        ),
        **({"hccs": HccsValue(4, {n: f"192.168.{index}.{199 - n}" for n in numbers})} if _has_pods(own) else {}),
    }


def ours(state: str = "running", process: str = "head", **more: Any) -> Container:
    """A container of this cluster."""
    return Container("a" * 64, f"qnext-qnext-{process}", state=state, cluster="qnext", process=process, **more)


def foreign(**more: Any) -> Container:
    """Somebody else's container."""
    return Container("b" * 64, "other", image="other:1", state="running", started="2026-11-24T06:00:00Z", **more)
