"""The NPUs that the PCI bus shows, from ``lspci``: those are there even when the driver is not, or lost one."""

from __future__ import annotations

import re
from dataclasses import dataclass

VENDOR = "19e5"
FAMILIES = {
    "d100": "310",
    "d105": "310",
    "d500": "310P",
    "d801": "910",
    "d802": "910B",
    "d803": "A3",
    "d806": "950",
}
"""Chip family by device id. 910B is A2's; 910 is the first generation [samples/npu FIELDS, Identity]."""

_ACCELERATOR = "1200"
_ROW = re.compile(
    r"((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\s+(?:([0-9a-f]{4}):\s|([^:\[]{3,60})(?:\[([0-9a-f]{4})\])?:\s)(.*)",
    re.IGNORECASE | re.ASCII,
)
_IDS = re.compile(r"\b(19e5):([0-9a-f]{4})\b|\bHuawei\b.*\bDevice ([0-9a-f]{4})\b", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class PciDevice:
    """``address`` as printed (``3d:00.0`` or ``0000:3d:00.0``). ``family`` is None for an id of no known chip."""

    address: str
    device: str
    family: str | None = None


@dataclass(frozen=True, slots=True)
class Pci:
    """The NPUs on the bus, by address. Other Huawei devices (network, management) are left out."""

    devices: tuple[PciDevice, ...] = ()
    problems: tuple[str, ...] = ()


def parse_lspci(text: str) -> Pci:
    """``lspci``, ``-n`` or ``-nn``, filtered or not: ``3d:00.0 1200: 19e5:d801 (rev 20)``. Never raises."""
    found: dict[str, PciDevice] = {}
    problems: dict[str, None] = {}
    for line in text.splitlines():
        row = _ROW.match(line.strip())
        ids = _IDS.search(row[5]) if row else None
        if row is None or ids is None:
            if re.search(r"19e5|accelerator", line, re.IGNORECASE) and "|" not in line:
                problems[f"unread: {line.strip()[:120]}"] = None
            continue
        device = (ids[2] or ids[3]).lower()
        accelerator = _ACCELERATOR in (row[2], row[4]) or "accelerator" in (row[3] or "").lower()
        if device in FAMILIES or accelerator:
            found[row[1].lower()] = PciDevice(row[1].lower(), device, FAMILIES.get(device))
        if accelerator and device not in FAMILIES:
            problems[f"unknown accelerator {VENDOR}:{device}"] = None
    return Pci(tuple(found[address] for address in sorted(found)), tuple(problems))
