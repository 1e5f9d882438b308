"""The start-up log of ``hccl_tools.py``, which prints what it asked of each NPU as Python lists, on one line each.

``device_id: 0, device_ip_info: ['ipaddr:10.0.245.11\\n', 'netmask:255.255.255.0\\n']``
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from provision.accel.ascend.hccn import parse_ip
from provision.accel.ascend.text import integer

_LINE = re.compile(r"device_id: *([0-9]{1,5}), *(device_ip_info|super_device_id): *\[(.*)\]\s*$", re.ASCII)


@dataclass(frozen=True, slots=True)
class RankDevice:
    """One die. ``device`` is the davinci number; what stands on a super-pod's side is None on A2."""

    device: int
    address: str | None = None
    netmask: str | None = None
    sdid: int | None = None
    super_pod_size: int | None = None
    super_pod_id: int | None = None
    server_index: int | None = None


@dataclass(frozen=True, slots=True)
class RankDevices:
    """The dies by number."""

    devices: tuple[RankDevice, ...] = ()
    problems: tuple[str, ...] = ()


def parse_hccl_tools(text: str) -> RankDevices:
    """A log that holds such lines; others are left out. Never raises."""
    found: dict[int, RankDevice] = {}
    for line in text.splitlines():
        if match := _LINE.search(line):
            entry = found.get(int(match[1]), RankDevice(int(match[1])))
            answer = "\n".join(re.findall(r"'((?:[^'\\]|\\.)*)'", match[3])).replace("\\n", "").replace("\\t", "")
            found[entry.device] = _addressed(entry, answer) if match[2] == "device_ip_info" else _placed(entry, answer)
    devices = tuple(found[number] for number in sorted(found))
    bare = [entry.device for entry in devices if entry.address is None]
    absent = (f"no address of device {', '.join(map(str, bare))}",) if bare else ()
    return RankDevices(devices, absent if devices else ("no device_id line in the text",))


def _addressed(entry: RankDevice, answer: str) -> RankDevice:
    told = parse_ip(answer).entries
    return replace(entry, address=told[0].address, netmask=told[0].netmask) if told else entry


def _placed(entry: RankDevice, answer: str) -> RankDevice:
    said = {key.strip(): value for key, _, value in (line.partition(":") for line in answer.splitlines())}
    return replace(
        entry,
        sdid=integer(said.get("SDID", "")),
        super_pod_size=integer(said.get("Super Pod Size", "")),
        super_pod_id=integer(said.get("Super Pod ID", "")),
        server_index=integer(said.get("Server Index", "")),
    )
