"""The Ascend driver on a node: versions, install record, and the paths that containers mount from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from provision.accel.ascend.driver import AscendInstall, DriverVersion, FirmwareVersion
from provision.accel.ascend.hccn import HccnConf
from provision.facts.base import Fact

PathKind = Literal["file", "dir", "missing", "other"]


@dataclass(frozen=True, slots=True)
class DriverValue:
    """Each part is None where its file is missing."""

    driver: DriverVersion | None = None
    firmware: FirmwareVersion | None = None
    install: AscendInstall | None = None
    hccn_conf: HccnConf | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Driver(Fact[DriverValue]):
    """Driver and firmware versions, install record, NPU network configuration."""

    name: ClassVar[str] = "driver"


@dataclass(frozen=True, slots=True)
class MountSource:
    """A path that a container mounts: what it is (``kind``) and what it must be (``expected``).

    Docker makes an empty folder of a missing source, which then breaks the host: sources are checked first.
    """

    path: str
    kind: PathKind = "missing"
    expected: PathKind = "file"

    @property
    def fits(self) -> bool:
        return self.kind == self.expected


@dataclass(frozen=True, slots=True)
class MountSourcesValue:
    """``npu_smi`` is where the tool really is (it may be /usr/local/sbin), None where it's missing."""

    sources: tuple[MountSource, ...] = ()
    npu_smi: str | None = None
    problems: tuple[str, ...] = ()

    def of(self, path: str) -> MountSource:
        """The source at ``path``; ``missing`` where it wasn't looked at."""
        return next((s for s in self.sources if s.path == path), MountSource(path))


@dataclass(frozen=True, slots=True)
class MountSources(Fact[MountSourcesValue]):
    """Whether the sources of the Ascend container's mounts are there and of the right type."""

    name: ClassVar[str] = "mount-sources"
