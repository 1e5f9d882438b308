"""The Atlas servers: what a standard one of each family has.

Device counts are what is assumed offline; on a node the device nodes are counted (an A2 Box16 has 16, not 8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from provision.accel.ascend import container, env
from provision.accel.protocol import ContainerRecipe, SourceKind
from provision.inventory.model import Hardware

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Ascend:
    """One family of Atlas servers. ``module_size`` dies are handed out together."""

    name: Hardware
    default_devices: tuple[int, ...]
    module_size: int
    image_suffixes: tuple[str, ...] | None
    device_bytes: int = 64 * GIB

    def environment(self, nodes: int) -> Mapping[str, str]:
        return env.environment(nodes)

    def fixed_environment(self) -> Mapping[str, str]:
        return env.fixed_environment()

    def address_environment(self, address: str) -> Mapping[str, str]:
        return env.address_environment(address)

    @property
    def interface_variables(self) -> Mapping[str, str]:
        return env.INTERFACE_VARIABLES

    def recipe(self, devices: Sequence[int], sources: Mapping[str, SourceKind] | None = None) -> ContainerRecipe:
        return container.recipe(devices, sources, module_size=self.module_size)

    def mount_sources(self) -> tuple[str, ...]:
        return container.mount_sources()


A2 = Ascend("atlas-800-a2", tuple(range(8)), module_size=1, image_suffixes=("", "a2"))
A3 = Ascend("atlas-800-a3", tuple(range(16)), module_size=2, image_suffixes=("a3",))
