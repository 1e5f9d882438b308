"""NPUs among the devices of the PCI bus, in each spelling of lspci."""

from __future__ import annotations

import pytest

from provision.accel.ascend.pci import FAMILIES, PciDevice, parse_lspci

IBMC = "03:00.0 0300: 19e5:1711 (rev 01)\n7d:00.0 0200: 19e5:a222 (rev 21)\n"


@pytest.mark.parametrize(
    "line",
    [
        "0000:3d:00.0 1200: 19e5:d802 (rev 20)",
        "0000:3d:00.0 Processing accelerators [1200]: Huawei Technologies Co., Ltd. Device [19e5:d802] (rev 20)",
        "0000:3d:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d802 (rev 20)",
        "0000:3D:00.0 1200: 19E5:D802",
    ],
)
def test_spellings(line: str) -> None:
    read = parse_lspci(f"{IBMC}{line}\n")
    assert (read.devices, read.problems) == ((PciDevice("0000:3d:00.0", "d802", "910B"),), ())


@pytest.mark.parametrize("device", FAMILIES)
def test_every_family_is_known_by_its_id(device: str) -> None:
    assert parse_lspci(f"81:00.0 1200: 19e5:{device}\n").devices[0].family == FAMILIES[device]


def test_an_accelerator_of_no_known_family_is_told() -> None:
    read = parse_lspci("81:00.0 1200: 19e5:d8ff\n")
    assert read.devices == (PciDevice("81:00.0", "d8ff"),)
    assert read.problems == ("unknown accelerator 19e5:d8ff",)


def test_a_line_cut_off_is_told() -> None:
    assert parse_lspci("3d:00.0 1200: 19e5:d8").problems == ("unread: 3d:00.0 1200: 19e5:d8",)
