"""The NPUs that the PCI bus shows: a card that fell off the bus is missing here, one without its driver is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.pci import VENDOR, PciDevice, parse_lspci
from provision.facts.base import Fact
from provision.facts.reading import complaints, section, sections
from provision.results import Result


@dataclass(frozen=True, slots=True)
class PciValue:
    """``source``: ``lspci`` or ``sysfs``; None where the bus could not be looked at. ``devices`` by address."""

    source: str | None = None
    devices: tuple[PciDevice, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pci(Fact[PciValue]):
    """Devices of Huawei's on the PCI bus that are NPUs: by lspci, else from /sys."""

    name: ClassVar[str] = "pci"

    def script(self) -> str:
        return f"""\
if o=$(lspci -D -n -d {VENDOR}: 2>/dev/null); then echo '@@ lspci'; printf '%s\\n' "$o"
elif [ -d /sys/bus/pci/devices ]; then
  echo '@@ sysfs'
  for d in /sys/bus/pci/devices/*; do
    v=; c=; i=
    {{ read -r v <"$d/vendor"; }} 2>/dev/null
    [ "$v" = 0x{VENDOR} ] || continue
    {{ read -r c <"$d/class"; read -r i <"$d/device"; }} 2>/dev/null
    c=${{c#0x}}; echo "${{d##*/}} ${{c%??}}: {VENDOR}:${{i#0x}}"
  done
fi
:
"""

    def parse(self, raw: Result) -> PciValue:
        titles = [part.words[0] for part in sections(raw.stdout) if part.words in (("lspci",), ("sysfs",))]
        if not titles:
            return PciValue(problems=complaints(raw) or ("neither lspci nor /sys/bus/pci is there",))
        read = parse_lspci(section(raw.stdout, titles[0]))
        return PciValue(titles[0], read.devices, complaints(raw) + read.problems)
