"""The Ascend driver on a node: versions, install record, and the paths that containers mount from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from provision.accel.ascend.driver import (
    AscendInstall,
    DriverVersion,
    FirmwareVersion,
    parse_driver_version,
    parse_firmware_version,
    parse_install,
)
from provision.facts.base import Fact
from provision.facts.reading import complaints, integer, sections
from provision.results import Result
from provision.shell import quote

DRIVER = "/usr/local/Ascend/driver/version.info"
FIRMWARE = "/usr/local/Ascend/firmware/version.info"
INSTALL = "/etc/ascend_install.info"

PathKind = Literal["file", "dir", "missing", "other"]

SOURCES: dict[str, PathKind] = {
    "/usr/local/dcmi": "dir",
    "/usr/local/Ascend/driver/tools/hccn_tool": "file",
    "/usr/local/bin/npu-smi": "file",
    "/usr/local/sbin/npu-smi": "file",
    "/usr/local/Ascend/driver/lib64": "dir",
    "/usr/local/Ascend/driver/version.info": "file",
    "/etc/ascend_install.info": "file",
    "/etc/hccn.conf": "file",
}
"""What the container recipe mounts, and of which type each must be [domain.md 4.3]; npu-smi is in one of two places."""


@dataclass(frozen=True, slots=True)
class DriverValue:
    """Each part is None where its file is missing. ``installed_at``: when the driver's version.info was written, in
    seconds since 1970; later than the host's start, the driver that runs may be the one before."""

    driver: DriverVersion | None = None
    firmware: FirmwareVersion | None = None
    install: AscendInstall | None = None
    installed_at: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Driver(Fact[DriverValue]):
    """Driver and firmware versions as installed, and the install record. What runs, npu-smi says."""

    name: ClassVar[str] = "driver"

    def script(self) -> str:
        return f"""\
for f in {DRIVER} {FIRMWARE} {INSTALL}; do
  if [ -f "$f" ]; then echo "@@ file $f"; head -c 16384 "$f"; echo
  elif [ -e "$f" ]; then echo "@@ odd $f"; fi
done
[ ! -f {DRIVER} ] || echo "@@ written $(stat -c %Y {DRIVER})"
:
"""

    def parse(self, raw: Result) -> DriverValue:
        parts = sections(raw.stdout)
        files = {part.words[1]: part.body for part in parts if part.words[:1] == ("file",) and len(part.words) == 2}
        odd = tuple(f"{' '.join(part.words[1:])} is no file" for part in parts if part.words[:1] == ("odd",))
        return DriverValue(
            driver=parse_driver_version(files[DRIVER]) if DRIVER in files else None,
            firmware=parse_firmware_version(files[FIRMWARE]) if FIRMWARE in files else None,
            install=parse_install(files[INSTALL]) if INSTALL in files else None,
            installed_at=next(
                (integer(p.words[1]) for p in parts if p.words[:1] == ("written",) and p.words[1:]), None
            ),
            problems=complaints(raw) + odd,
        )


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

    def script(self) -> str:
        return f"""\
for f in {" ".join(SOURCES)}; do
  if [ -f "$f" ]; then echo "file $f"; elif [ -d "$f" ]; then echo "dir $f"
  elif [ -e "$f" ]; then echo "other $f"; else echo "missing $f"; fi
done
PATH=$PATH:/usr/local/bin:/usr/local/sbin
echo "@@ npu-smi $(command -v npu-smi)"
"""

    def parse(self, raw: Result) -> MountSourcesValue:
        looked, _, tool = raw.stdout.partition("@@ npu-smi ")
        said = {path: kind for kind, _, path in (line.partition(" ") for line in looked.splitlines())}
        return MountSourcesValue(
            sources=tuple(MountSource(path, _kind(said.get(path)), kind) for path, kind in SOURCES.items()),
            npu_smi=tool.strip() or None,
            problems=complaints(raw) or (() if SOURCES.keys() <= said.keys() else ("not every path was looked at",)),
        )


def _kind(word: str | None) -> PathKind:
    match word:
        case "file" | "dir" | "other":
            return word
        case _:
            return "missing"


@dataclass(frozen=True, slots=True)
class PackageWorkValue:
    """What this tool has installed on the node: checksums of packages by kind (``ops``). ``awaits_boot``: what it
    installed since the last boot runs after the next one only."""

    done: tuple[tuple[str, str], ...] = ()
    awaits_boot: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackageWork(Fact[PackageWorkValue]):
    """The notes in ``folder`` of packages that were installed: some leave no record of their own."""

    name: ClassVar[str] = "package-work"
    folder: str = "/var/lib/qnext/driver"

    def script(self) -> str:
        return f"""\
d={quote(self.folder)}
for f in "$d"/done-*; do
  if [ -f "$f" ]; then echo "done ${{f##*/done-}} $(head -c 64 "$f")"; fi
done
if [ -f "$d/awaits-boot" ] && [ "$(cat "$d/awaits-boot")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then
  echo awaits
fi
:
"""

    def parse(self, raw: Result) -> PackageWorkValue:
        words = [line.split() for line in raw.stdout.splitlines()]
        return PackageWorkValue(
            done=tuple((line[1], line[2]) for line in words if line[:1] == ["done"] and len(line) == 3),
            awaits_boot=["awaits"] in words,
            problems=complaints(raw),
        )
