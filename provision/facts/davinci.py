"""The NPU device nodes: what the driver made under /dev, which is what a container can be given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints
from provision.results import Result


@dataclass(frozen=True, slots=True)
class DavinciValue:
    """``devices``: the N of every /dev/davinciN, ascending. ``not_devices``: paths of these that exist and are no
    character devices. ``other``: paths of further device nodes of the family, e.g. ``/dev/ummu`` on 950."""

    devices: tuple[int, ...] = ()
    davinci_manager: bool = False
    devmm_svm: bool = False
    hisi_hdc: bool = False
    not_devices: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The device nodes that every container needs beside its dies, and that aren't there."""
        needed = {
            "/dev/davinci_manager": self.davinci_manager,
            "/dev/devmm_svm": self.devmm_svm,
            "/dev/hisi_hdc": self.hisi_hdc,
        }
        return tuple(path for path, there in needed.items() if not there)


@dataclass(frozen=True, slots=True)
class Davinci(Fact[DavinciValue]):
    """NPU device nodes."""

    name: ClassVar[str] = "davinci"

    def script(self) -> str:
        return """\
for f in /dev/davinci* /dev/devmm_svm /dev/hisi_hdc /dev/ummu /dev/uburma; do
  if [ -c "$f" ]; then echo "device $f"; elif [ -e "$f" ]; then echo "other $f"; fi
done
:
"""

    def parse(self, raw: Result) -> DavinciValue:
        lines = [line.partition(" ") for line in raw.stdout.splitlines()]
        nodes = [path for kind, _, path in lines if kind == "device"]
        needed = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
        return DavinciValue(
            devices=tuple(sorted(int(m[1]) for m in map(_DIE.fullmatch, nodes) if m)),
            davinci_manager=needed[0] in nodes,
            devmm_svm=needed[1] in nodes,
            hisi_hdc=needed[2] in nodes,
            not_devices=tuple(path for kind, _, path in lines if kind == "other"),
            other=tuple(path for path in nodes if path not in needed and not _DIE.fullmatch(path)),
            problems=complaints(raw),
        )


_DIE = re.compile(r"/dev/davinci([0-9]{1,5})")
