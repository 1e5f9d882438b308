"""What ``parse KIND FILE`` knows, and facts as plain data for ``facts --json``."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.accel.ascend import (
    cann,
    device_nodes,
    driver,
    hccl_tools,
    hccn,
    hccn_detail,
    hccn_ping,
    kernel_log,
    messages,
    npu_smi,
    pci,
    topo,
)
from provision.accel.ascend import npu_smi_sections as sections
from provision.facts import collected

if TYPE_CHECKING:
    from provision.facts.base import Fact
    from provision.inventory.model import Settings


@dataclass(frozen=True, slots=True)
class Kind:
    """A parser by name: ``parse`` never raises; ``to_json`` turns its value into plain data."""

    name: str
    description: str
    parse: Callable[[str], object]

    def to_json(self, value: object) -> object:
        """``value`` as dicts, lists, strings, numbers, booleans and None."""
        return as_data(value)

    def read_nothing(self, value: object) -> bool:
        """Whether ``value`` holds nothing but problems: the text was another tool's, or an error message."""
        return not _weight(self.to_json(value))


def matching(text: str) -> list[str]:
    """The kinds that read something of ``text``, what fits best first: what it may be, where nobody says. Complaints
    alone are no output of any command."""
    fit: dict[str, int] = {}
    for kind in (kind for kind in KINDS.values() if kind.name != "ascend-messages"):
        value = kind.parse(text)
        if not kind.read_nothing(value):
            fit[kind.name] = _weight(kind.to_json(value)) - len(getattr(value, "problems", ()))
    return sorted(fit, key=lambda name: -fit[name])


def _weight(data: object, *, inside: bool = False) -> int:
    """How many facts plain data holds. Problems are none, nor is ``npu``: every output of npu-smi names the card. A
    zero is one inside a list (a counter of a chip), else it may stand for nothing found."""
    if isinstance(data, dict):
        own = [item for key, item in data.items() if key not in ("problems", "npu", "other")]
        return sum(_weight(item, inside=inside) for item in own)
    if isinstance(data, list):
        return sum(_weight(item, inside=True) for item in data)
    return int(bool(data) or (inside and data is not None and data is not False and data != ""))


def _kinds(*kinds: Kind) -> dict[str, Kind]:
    return {kind.name: kind for kind in kinds}


KINDS: dict[str, Kind] = _kinds(
    Kind("npu-smi-info", "npu-smi info: dies, health, memory, processes", npu_smi.parse_info),
    Kind("npu-smi-mapping", "npu-smi info -m: card, chip and device numbers", npu_smi.parse_mapping),
    Kind("npu-smi-list", "npu-smi info -l: cards and their chips", npu_smi.parse_list),
    Kind("npu-smi-watch", "npu-smi info watch: power, temperature and load, row by row", npu_smi.parse_watch),
    Kind("npu-smi-health", "npu-smi info -t health -i N [-c M]: health with error codes", sections.parse_health),
    Kind("npu-smi-board", "npu-smi info -t board -i N [-c M]: chip name, firmware, PCI ids", sections.parse_board),
    Kind("npu-smi-ecc", "npu-smi info -t ecc -i N: memory errors, isolated pages", sections.parse_ecc),
    Kind("npu-smi-common", "npu-smi info -t common -i N: load, clocks, temperature, power", sections.parse_common),
    Kind("npu-smi-usages", "npu-smi info -t usages -i N: capacities and load", sections.parse_usages),
    Kind("npu-smi-memory", "npu-smi info -t memory -i N: capacity, clock, HBM temperature", sections.parse_memory),
    Kind("npu-smi-proc-mem", "npu-smi info -t proc-mem -i N: processes, their memory", sections.parse_process_memory),
    Kind("npu-smi-power", "npu-smi info -t power -i N: power in watts", sections.parse_power),
    Kind("npu-smi-temp", "npu-smi info -t temp -i N: temperature", sections.parse_temp),
    Kind("npu-smi-product", "npu-smi info -t product -i N: trade name of a PCIe card", sections.parse_product),
    Kind("npu-smi-spod-info", "npu-smi info -t spod-info -i N -c M: super pod of an A3", sections.parse_super_pod),
    Kind("npu-smi-topo", "npu-smi info -t topo: how dies reach each other, CPU affinity", topo.parse_topology),
    Kind("npu-smi-hccs", "npu-smi info -t hccs -i N -c M: HCCS links, lanes, errors", topo.parse_hccs),
    Kind("npu-smi-vnpu-mode", "npu-smi info -t vnpu-mode: mode of virtual NPUs", sections.parse_vnpu_mode),
    Kind("npu-smi-mcu-version", "npu-smi upgrade -b mcu -i N: firmware", sections.parse_controller_version),
    Kind("driver-version", "/usr/local/Ascend/driver/version.info", driver.parse_driver_version),
    Kind("firmware-version", "/usr/local/Ascend/firmware/version.info", driver.parse_firmware_version),
    Kind("ascend-install-info", "/etc/ascend_install.info", driver.parse_install),
    Kind("ascend-install-log", "output of a driver or firmware .run package", driver.parse_install_log),
    Kind("cann-version", "CANN: an install.info, version.cfg, or ATB's version.info", cann.parse_cann),
    Kind("hccn-conf", "/etc/hccn.conf: addresses of the NPUs' own interfaces", hccn.parse_conf),
    Kind("hccn-link", "hccn_tool -i N -link -g, once or in a loop", hccn.parse_link),
    Kind("hccn-net-health", "hccn_tool -i N -net_health -g, once or in a loop", hccn.parse_net_health),
    Kind("hccn-ip", "hccn_tool -i N -ip -g, once or in a loop", hccn.parse_ip),
    Kind("hccn-vnic", "hccn_tool -i N -vnic -g, once or in a loop", hccn.parse_vnic),
    Kind("hccn-tls", "hccn_tool -i N -tls -g, once or in a loop", hccn.parse_tls),
    Kind("hccn-gateway", "hccn_tool -i N -gateway -g, once or in a loop", hccn.parse_gateway),
    Kind("hccn-netdetect", "hccn_tool -i N -netdetect -g: detection address", hccn.parse_netdetect),
    Kind("hccn-lldp", "hccn_tool -i N -lldp -g: switch and port at the other end", hccn_detail.parse_lldp),
    Kind("hccn-link-stat", "hccn_tool -i N -link_stat -g: when the link went up and down", hccn_detail.parse_link_stat),
    Kind("hccn-stat", "hccn_tool -i N -stat -g or -hw_stats -g: counters", hccn_detail.parse_counters),
    Kind("hccn-fec", "hccn_tool -i N -fec -g: error correction of the link", hccn.parse_fec),
    Kind("hccn-optical", "hccn_tool -i N -optical -g: optical module, powers in mW", hccn_detail.parse_optical),
    Kind("hccn-route", "hccn_tool -i N -route -g: routes of the NPU's interface", hccn_detail.parse_route),
    Kind("hccn-status", "hccn_tool -i N -status -g: speed of the port", hccn_detail.parse_status),
    Kind("hccn-ping", "hccn_tool -i N -ping -g or -hccs_ping -g: packets and times", hccn_ping.parse_ping),
    Kind("hccn-set", "hccn_tool -i N ... -s: whether it was done", hccn.parse_set),
    Kind("lspci", "lspci, -n or -nn: NPUs on the PCI bus", pci.parse_lspci),
    Kind("davinci-devices", "ls [-l] /dev/davinci*: device nodes", device_nodes.parse_device_nodes),
    Kind("kernel-log", "dmesg: errors that NPU drivers wrote", kernel_log.parse_kernel_log),
    Kind("hccl-tools-log", "hccl_tools.py's log: addresses and super-pod places of NPUs", hccl_tools.parse_hccl_tools),
    Kind("ascend-messages", "any text: complaints of Ascend's tools, codes explained", messages.parse_messages),
    Kind("collected", "a file of many commands with outputs (npu_info_before.txt)", collected.parse_collected),
)
"""By name, in the order in which they are listed."""


def as_data(value: object) -> object:
    """A dataclass (or any value inside one) as plain data for JSON; bytes as text, else as base64."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_data(item) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, bytes):
        return _bytes_as_text(value)
    if isinstance(value, Iterable):
        return [as_data(item) for item in value]
    return str(value)


def _bytes_as_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(value).decode()


def standard_facts(settings: Settings) -> list[Fact[object]]:
    """All facts that ``facts`` shows for a host of a cluster with these settings."""
    from provision.facts.clusters import Clusters
    from provision.facts.disk import Disk
    from provision.facts.docker import Containers, Docker, Image
    from provision.facts.files import Listing
    from provision.facts.firewall import Firewall
    from provision.facts.limits import Limits
    from provision.facts.machine import Machine
    from provision.facts.model import ModelFolder
    from provision.facts.network import Network, Ports
    from provision.facts.packages import installed_packages
    from provision.facts.processes import Processes
    from provision.facts.proxy import Proxy
    from provision.facts.python import PythonEnvironment
    from provision.facts.services import Services
    from provision.facts.shm import SharedMemory
    from provision.facts.sysctl import Sysctl
    from provision.facts.system import Boot, Clock, Cpu, Identity, Memory, Os
    from provision.facts.timesync import TimeSync
    from provision.facts.tuning import Tuning

    evaluate = settings.evaluate
    state = f"{settings.state_dir}/{settings.cluster}"
    return [
        *(Os(), Cpu(), Memory(), Clock(), Identity(), Boot()),
        *(Machine(), Tuning(), Sysctl(), Limits(), Services(), Firewall(), TimeSync(), Proxy()),
        Disk(("/", settings.model.folder, settings.state_dir, "/tmp", "/var/log", "/var/lib/docker")),
        *(Network(), Ports(), Docker(), Containers(settings.cluster), Image(settings.install.ref)),
        *(_npu_facts(settings) if settings.hardware != "cpu" else ()),
        *(ModelFolder(settings.model.folder), Processes(), SharedMemory(), Listing(state)),
        Clusters(settings.state_dir, settings.cluster),
        installed_packages(settings),
        *([PythonEnvironment(evaluate.venv, files=evaluate.datasets)] if evaluate.venv else ()),
        *(_source_facts(settings) if settings.install.method == "source" else ()),
    ]


def _source_facts(settings: Settings) -> list[Fact[object]]:
    from provision.facts.source import SourceInstall
    from provision.facts.toolchain import Toolchain

    python = settings.install.source.python
    return [SourceInstall(settings.venv, settings.wheels, python), Toolchain(python)]


def _npu_facts(settings: Settings) -> list[Fact[object]]:
    from provision.facts.cann import Cann
    from provision.facts.davinci import Davinci
    from provision.facts.driver import Driver, MountSources
    from provision.facts.hccn import Hccn, HccnConf
    from provision.facts.hccn_detail import HccnDetail
    from provision.facts.kernel_log import KernelLog
    from provision.facts.npu_detail import NpuDetail
    from provision.facts.npu_smi import NpuSmi, NpuSmiMapping
    from provision.facts.pci import Pci

    super_pod = settings.hardware == "atlas-800-a3"
    dies = settings.devices or ()
    return [
        Davinci(),
        NpuSmi(),
        NpuSmiMapping(),
        NpuDetail(("common", "usages", "memory", "proc-mem")),
        Driver(),
        MountSources(),
        Hccn(dies),
        HccnDetail(dies, ("vnic", "stat", "optical") if super_pod else ("stat", "optical")),
        *(HccnConf(), Cann(), Pci(), KernelLog()),
    ]
