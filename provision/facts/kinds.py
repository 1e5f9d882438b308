"""What ``parse KIND FILE`` knows, and facts as plain data for ``facts --json``."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.accel.ascend import cann, driver, hccn, npu_smi

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


def _kinds(*kinds: Kind) -> dict[str, Kind]:
    return {kind.name: kind for kind in kinds}


KINDS: dict[str, Kind] = _kinds(
    Kind("npu-smi-info", "npu-smi info: dies, health, memory, processes", npu_smi.parse_info),
    Kind("npu-smi-mapping", "npu-smi info -m: card, chip and device numbers", npu_smi.parse_mapping),
    Kind("npu-smi-list", "npu-smi info -l: cards and their chips", npu_smi.parse_list),
    Kind("npu-smi-health", "npu-smi info -t health -i N [-c M]: health with error codes", npu_smi.parse_health),
    Kind("npu-smi-board", "npu-smi info -t board -i N [-c M]: chip name, firmware, PCI ids", npu_smi.parse_board),
    Kind("driver-version", "/usr/local/Ascend/driver/version.info", driver.parse_driver_version),
    Kind("firmware-version", "/usr/local/Ascend/firmware/version.info", driver.parse_firmware_version),
    Kind("ascend-install-info", "/etc/ascend_install.info", driver.parse_install),
    Kind("cann-version", "ascend_toolkit_install.info of CANN", cann.parse_cann),
    Kind("hccn-conf", "/etc/hccn.conf: addresses of the NPUs' own interfaces", hccn.parse_conf),
    Kind("hccn-link", "hccn_tool -i N -link -g, once or in a loop", hccn.parse_link),
    Kind("hccn-net-health", "hccn_tool -i N -net_health -g, once or in a loop", hccn.parse_net_health),
    Kind("hccn-ip", "hccn_tool -i N -ip -g, once or in a loop", hccn.parse_ip),
    Kind("hccn-vnic", "hccn_tool -i N -vnic -g, once or in a loop", hccn.parse_vnic),
    Kind("hccn-tls", "hccn_tool -i N -tls -g, once or in a loop", hccn.parse_tls),
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
    from provision.facts.disk import Disk
    from provision.facts.docker import Containers, Docker, Image
    from provision.facts.files import Listing
    from provision.facts.model import ModelFolder
    from provision.facts.network import Network, Ports
    from provision.facts.processes import Processes
    from provision.facts.system import Boot, Clock, Cpu, Identity, Memory, Os

    state = f"{settings.state_dir}/{settings.cluster}"
    return [
        *(Os(), Cpu(), Memory(), Clock(), Identity(), Boot()),
        Disk(("/", settings.model.path, settings.state_dir)),
        *(Network(), Ports(), Docker(), Containers(settings.cluster), Image(settings.install.image)),
        *(_npu_facts(settings) if settings.hardware != "cpu" else ()),
        *(ModelFolder(settings.model.path), Processes(), Listing(state)),
    ]


def _npu_facts(settings: Settings) -> list[Fact[object]]:
    from provision.facts.davinci import Davinci
    from provision.facts.driver import Driver, MountSources
    from provision.facts.hccn import Hccn
    from provision.facts.npu_smi import NpuSmi, NpuSmiMapping

    dies = range(16 if settings.hardware == "atlas-800-a3" else 8)
    return [Davinci(), NpuSmi(), NpuSmiMapping(), Driver(), MountSources(), Hccn(settings.devices or tuple(dies))]
