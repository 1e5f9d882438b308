"""What serving must know of a kind of hardware: its devices, its environment and how a container gets at it.

One ``Accelerator`` a kind; ``accelerator`` finds it by the inventory's ``hardware``. Everything here is plain values,
so the layouts, the launch scripts and the checks are computed with no node touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from provision.inventory.model import Hardware

SourceKind = Literal["file", "dir", "other", "missing"]
"""What stands at a path on a node; "missing" where nothing does."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A bind mount. ``kind`` is what ``source`` must be: Docker makes an empty folder of a source that is missing,
    which later reads as ``npu-smi: Is a directory``. An ``optional`` source is mounted where it exists."""

    source: str
    target: str
    kind: Literal["file", "dir"] = "dir"
    read_only: bool = False
    optional: bool = False

    @property
    def volume(self) -> str:
        """The value of ``docker run -v``."""
        return f"{self.source}:{self.target}" + (":ro" if self.read_only else "")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a container cannot be made as it should on this node, and what to do."""

    summary: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ContainerRecipe:
    """What a container needs of its host. Of each tuple in ``one_of`` at least one mount's source must exist: the tool
    whose place differs between installations."""

    devices: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    one_of: tuple[tuple[Mount, ...], ...] = ()
    problems: tuple[Problem, ...] = ()


class Accelerator(Protocol):
    """One kind of hardware."""

    @property
    def name(self) -> Hardware: ...

    @property
    def default_devices(self) -> tuple[int, ...]:
        """davinci numbers a standard server has: what is assumed while no node has been looked at. Empty: no
        devices."""

    @property
    def device_bytes(self) -> int:
        """Memory of one device in bytes; 0 where it is no limit."""

    @property
    def module_size(self) -> int:
        """Devices that are only handed out together (A3: the two dies of a module)."""

    @property
    def image_suffixes(self) -> tuple[str, ...] | None:
        """Suffixes that an image tag for it may carry ("" for none); None: no rule."""

    def environment(self, nodes: int) -> Mapping[str, str]:
        """Variables of every server process on a cluster of ``nodes`` nodes; an operator may override them."""

    def fixed_environment(self) -> Mapping[str, str]:
        """Variables that nobody may override."""

    def address_environment(self, address: str) -> Mapping[str, str]:
        """Variables that carry the node's own address."""

    @property
    def interface_variables(self) -> Mapping[str, str]:
        """Variables that carry the node's own network interface: name to the prefix its value takes."""

    def recipe(self, devices: Sequence[int], sources: Mapping[str, SourceKind] | None = None) -> ContainerRecipe:
        """What a container with these devices needs. ``sources``: what stands at the mount sources on the node, where
        it has been looked at; None leaves optional mounts to be decided on the node by the launch script."""

    def mount_sources(self) -> tuple[str, ...]:
        """Paths on a node that ``recipe`` wants to know of."""


def accelerator(hardware: Hardware) -> Accelerator:
    """The accelerator that an inventory calls ``hardware``."""
    from provision.accel.ascend.hardware import A2, A3
    from provision.accel.cpu import CPU

    known: tuple[Accelerator, ...] = (A2, A3, CPU)
    return next(each for each in known if each.name == hardware)
