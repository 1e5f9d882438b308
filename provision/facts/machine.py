"""What kind of machine a node is: its maker's names, and whether it is a real one, a virtual one or a container.

What systemd-detect-virt asks of the firmware's tables and the processor, without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints
from provision.results import Result

DMI = "/sys/class/dmi/id"

VIRTUAL = (
    ("kvm", r"KVM|OpenStack|Alibaba Cloud|Google Compute|HVM domU.*KVM|RHEV|oVirt"),
    ("qemu", r"QEMU|Bochs"),
    ("vmware", r"VMware"),
    ("virtualbox", r"innotek|VirtualBox"),
    ("xen", r"\bXen\b"),
    ("microsoft", r"Microsoft Corporation.*Virtual Machine"),
    ("parallels", r"Parallels"),
    ("amazon", r"Amazon EC2(?!.*\.metal)"),
    ("apple", r"Apple Virtualization"),
)
"""Words of the firmware's maker and product [systemd, src/basic/virt.c], in order."""


@dataclass(frozen=True, slots=True)
class MachineValue:
    """``vendor``, ``product`` (``Atlas 800T A3``), ``board`` and ``bios`` as the firmware tells, else empty.

    ``virtualization``: ``none`` on bare metal, else what is underneath (kvm, vmware, …; ``vm``: something is); empty
    where it can't be told. ``container``: what we run in (docker, podman, kubernetes, …), empty on a host.
    """

    vendor: str = ""
    product: str = ""
    board: str = ""
    bios: str = ""
    virtualization: str = ""
    container: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine(Fact[MachineValue]):
    """Maker, product, virtualisation."""

    name: ClassVar[str] = "machine"

    def script(self) -> str:
        # Flags come at the end of a processor's block, of which the first tells enough: /proc/cpuinfo is slow to read.
        return f"""\
grep -sH '' {DMI}/sys_vendor {DMI}/product_name {DMI}/board_name {DMI}/bios_version /sys/hypervisor/type \
  /run/systemd/container
grep -sHoEm1 'kubepods|docker|libpod|containerd|lxc' /proc/1/cgroup
sed -n -e '/^flags/s/.* hypervisor.*/cpu:hypervisor/p' -e '/^flags/q' -e '/^Features/q' -e '/^$/q' /proc/cpuinfo
[ -e /.dockerenv ] && echo 'in:docker'
[ -e /run/.containerenv ] && echo 'in:podman'
:
"""

    def parse(self, raw: Result) -> MachineValue:
        said: dict[str, str] = {}
        for line in raw.stdout.splitlines():
            key, _, value = line.partition(":")
            said.setdefault(key, value.strip())
        vendor, product = said.get(f"{DMI}/sys_vendor", ""), said.get(f"{DMI}/product_name", "")
        return MachineValue(
            vendor=vendor,
            product=product,
            board=said.get(f"{DMI}/board_name", ""),
            bios=said.get(f"{DMI}/bios_version", ""),
            virtualization=_virtualization(f"{vendor} {product}", said),
            container=_container(said),
            problems=complaints(raw),
        )


def _virtualization(firmware: str, said: dict[str, str]) -> str:
    known = next((name for name, pattern in VIRTUAL if re.search(pattern, firmware)), "")
    if known:
        return known
    if said.get("/sys/hypervisor/type"):
        return said["/sys/hypervisor/type"]
    if "cpu" in said:
        return "vm"
    return "none" if firmware.strip() else ""


def _container(said: dict[str, str]) -> str:
    word = said.get("/run/systemd/container") or said.get("in") or said.get("/proc/1/cgroup", "")
    return {"kubepods": "kubernetes", "libpod": "podman"}.get(word, word)
