"""Every hardware of an inventory has an accelerator, and each is whole."""

from __future__ import annotations

from typing import get_args

import pytest

from provision.accel.protocol import accelerator
from provision.inventory.model import Hardware


@pytest.mark.parametrize("name", get_args(Hardware))
def test_accelerator(name: Hardware) -> None:
    found = accelerator(name)
    assert found.name == name
    assert len(found.default_devices) % found.module_size == 0
    assert {m.source for m in found.recipe((0, 1)).mounts} <= set(found.mount_sources())
    assert set(found.interface_variables) >= {"GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME"}
    assert found.address_environment("10.0.0.1")["VLLM_HOST_IP"] == "10.0.0.1"


def test_standard_servers() -> None:
    assert [len(accelerator(name).default_devices) for name in get_args(Hardware)] == [8, 16, 0]
