"""No accelerator: vLLM's CPU build. For trying the tool out, for tests of real servers, and for tiny models.

There are no devices to hand out, so nothing limits ranks a node, and an image of any name will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.accel.protocol import ContainerRecipe, SourceKind
from provision.inventory.model import Hardware

KV_CACHE_GIB = "1"
"""``VLLM_CPU_KVCACHE_SPACE``, GiB a rank. vLLM itself would take a share of all memory, which two ranks on a small
machine cannot both have. One GiB holds the whole context of the tiny models that CPU clusters are for; set another in
serve.env."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """vLLM's CPU build."""

    name: Hardware = "cpu"
    default_devices: tuple[int, ...] = ()
    device_bytes: int = 0
    module_size: int = 1
    image_suffixes: tuple[str, ...] | None = None

    def environment(self, nodes: int) -> Mapping[str, str]:
        """The weights are local, so the hub is off: without a route to it, start-up would hang in retries."""
        return {
            "VLLM_CPU_KVCACHE_SPACE": KV_CACHE_GIB,
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
        }

    def fixed_environment(self) -> Mapping[str, str]:
        return {}

    def address_environment(self, address: str) -> Mapping[str, str]:
        return {"VLLM_HOST_IP": address}

    @property
    def interface_variables(self) -> Mapping[str, str]:
        return {"GLOO_SOCKET_IFNAME": "", "TP_SOCKET_IFNAME": ""}

    def recipe(self, devices: Sequence[int], sources: Mapping[str, SourceKind] | None = None) -> ContainerRecipe:
        return ContainerRecipe()

    def mount_sources(self) -> tuple[str, ...]:
        return ()


CPU = Cpu()
