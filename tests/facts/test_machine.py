"""What a machine is, by its firmware's words."""

from __future__ import annotations

from typing import Any

import pytest

from provision.facts.machine import DMI, Machine
from provision.results import Result


@pytest.mark.parametrize(
    ("vendor", "product", "more", "virtualization", "container"),
    [
        ("Huawei", "Atlas 800T A3", "", "none", ""),
        ("QEMU", "KVM Virtual Machine", "", "kvm", ""),
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)", "cpu:hypervisor\n", "qemu", ""),
        ("VMware, Inc.", "VMware7,1", "cpu:hypervisor\n", "vmware", ""),
        ("Microsoft Corporation", "Virtual Machine", "cpu:hypervisor\n", "microsoft", ""),
        ("Microsoft Corporation", "Surface Hub", "", "none", ""),
        ("Amazon EC2", "m5.large", "", "amazon", ""),
        ("Amazon EC2", "m5.metal", "", "none", ""),
        ("Contoso", "Cloud", "cpu:hypervisor\n", "vm", ""),
        ("", "", "/sys/hypervisor/type:xen\n", "xen", ""),
        ("", "", "in:docker\n", "", "docker"),
        ("Huawei", "Atlas 800I A2", "/proc/1/cgroup:kubepods\n", "none", "kubernetes"),
        ("Huawei", "Atlas 800I A2", "/run/systemd/container:lxc\nin:podman\n", "none", "lxc"),
    ],
)
def test_kinds(vendor: str, product: str, more: str, virtualization: str, container: str) -> None:
    firmware = f"{DMI}/sys_vendor:{vendor}\n{DMI}/product_name:{product} \n{DMI}/bios_version:5.02\n" if vendor else ""
    value = Machine().parse(Result("machine", 0, firmware + more))
    assert (value.vendor, value.product, value.bios) == (vendor, product, "5.02" if vendor else "")
    assert (value.virtualization, value.container) == (virtualization, container)


def test_this_machine(look: Any) -> None:
    value = look(Machine())
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        if " hypervisor" in file.read():
            assert value.virtualization not in ("", "none")
    assert value.problems == ()
