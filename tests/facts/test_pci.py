"""NPUs on the bus, by lspci or, where that is missing or fails, from /sys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.accel.ascend.pci import PciDevice
from provision.facts.pci import Pci


@dataclass(frozen=True, slots=True)
class PciBelow(Pci):
    """The same script with another /sys."""

    folder: str = ""

    def script(self) -> str:
        return Pci.script(self).replace("/sys/bus", self.folder)


def sysfs(folder: Path, *devices: tuple[str, str, str, str]) -> str:
    for address, vendor, kind, device in devices:
        path = folder / "pci" / "devices" / address
        path.mkdir(parents=True)
        for name, word in (("vendor", vendor), ("class", kind), ("device", device)):
            (path / name).write_text(f"0x{word}\n")
    return str(folder)


NPU = ("0000:3d:00.0", "19e5", "120000", "d802")
OTHERS = [("0000:03:00.0", "19e5", "030000", "1711"), ("0000:04:00.0", "8086", "020000", "1572")]


def test_lspci(look: Any, tool: Any) -> None:
    tool("lspci", 'echo "$*" | grep -q -e "-n -d 19e5:" && echo "0000:3d:00.0 1200: 19e5:d803 (rev 20)"\n')
    value = look(Pci())
    assert (value.source, value.devices) == ("lspci", (PciDevice("0000:3d:00.0", "d803", "A3"),))


def test_sysfs_where_lspci_fails(look: Any, tool: Any, tmp_path: Path) -> None:
    tool("lspci", "echo 'pcilib: Cannot open /proc/bus/pci' >&2; exit 1\n")
    value = look(PciBelow(sysfs(tmp_path / "bus", NPU, *OTHERS)))
    assert (value.source, value.devices) == ("sysfs", (PciDevice("0000:3d:00.0", "d802", "910B"),))
    assert value.problems == ()


def test_a_bus_without_npus_is_an_answer(look: Any, tool: Any) -> None:
    tool("lspci", "exit 0\n")
    value = look(Pci())
    assert (value.source, value.devices, value.problems) == ("lspci", (), ())


def test_neither(look: Any, tool: Any, tmp_path: Path) -> None:
    tool("lspci", "exit 1\n")
    value = look(PciBelow(str(tmp_path / "none")))
    assert (value.source, value.problems) == (None, ("neither lspci nor /sys/bus/pci is there",))
