"""The CANN toolkit's install record (``ascend_toolkit_install.info``), as a value: a pure parser."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.accel.ascend.text import assignments


@dataclass(frozen=True, slots=True)
class CannVersion:
    """``compatible`` are inner versions (V100R001Cnn) of drivers that the toolkit works with."""

    package: str | None = None
    version: str | None = None
    inner_version: str | None = None
    arch: str | None = None
    path: str | None = None
    compatible: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def parse_cann(text: str) -> CannVersion:
    """An install.info of toolkit, nnae or nnal. Never raises."""
    said = assignments(text)
    return CannVersion(
        package=said.get("package_name"),
        version=said.get("version"),
        inner_version=said.get("innerversion"),
        arch=said.get("arch"),
        path=said.get("path"),
        compatible=tuple(re.findall(r"\w+", said.get("compatible_version", ""))),
        problems=() if said.get("version") else ("no version= line",),
    )
