"""Which CANN is installed, from the records that its packages leave: pure parsers.

Three spellings exist: ``ascend_toolkit_install.info`` (and nnae's) is ``key=value``; ``version.cfg`` holds
``runtime_running_version=[7.6.0.1.220:8.0.0]`` a component; ATB's ``version.info`` is ``Ascend-cann-atb : 8.2.RC2``.
Up to 8.3 they lie below /usr/local/Ascend/ascend-toolkit/<version>, from 8.5 in /usr/local/Ascend/cann-<version>.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from provision.accel.ascend.text import assignments

_RUNNING = re.compile(r"(\w{1,60})_(?:running|upgrade)_version=\[([^\]\n]{1,120})\]", re.ASCII)
_ATB = re.compile(r"\s*(Ascend-cann-atb|Ascend-cann-atb Version|Platform) *: *(\S{1,80})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class CannVersion:
    """``compatible`` are inner versions (V100R001Cnn) of drivers that the toolkit works with; empty: not told."""

    package: str | None = None
    version: str | None = None
    inner_version: str | None = None
    arch: str | None = None
    path: str | None = None
    compatible: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def parse_cann(text: str) -> CannVersion:
    """An install.info of toolkit or nnae, a version.cfg, or the version.info of ATB (nnal). Never raises."""
    said = assignments(text)
    if "version" not in said:
        if components := _RUNNING.findall(text):
            return _config(components)
        if atb := {match[1]: match[2] for line in text.splitlines() if (match := _ATB.fullmatch(line))}:
            return _atb(atb)
    return CannVersion(
        package=said.get("package_name"),
        version=said.get("version") or None,
        inner_version=said.get("innerversion"),
        arch=said.get("arch"),
        path=said.get("path"),
        compatible=tuple(re.findall(r"\w+", said.get("compatible_version", ""))),
        problems=() if said.get("version") else ("no version= line",),
    )


def _config(components: list[tuple[str, str]]) -> CannVersion:
    """The first component speaks; another that differs is a problem, as after an installation that ended half-way."""
    inner, colon, version = components[0][1].partition(":")
    versions = {name: value.rpartition(":")[2] for name, value in reversed(components)}
    odd = [f"{name} {other}" for name, other in versions.items() if other != components[0][1].rpartition(":")[2]]
    return CannVersion(
        package="version.cfg",
        version=(version if colon else inner).removeprefix("CANN-").strip() or None,
        inner_version=inner if colon else None,
        problems=(f"components differ from {components[0][0]}: {', '.join(sorted(odd))}",) if odd else (),
    )


def _atb(said: dict[str, str]) -> CannVersion:
    version = said.get("Ascend-cann-atb")
    return CannVersion(
        package="Ascend-cann-atb",
        version=version,
        inner_version=said.get("Ascend-cann-atb Version"),
        arch=said.get("Platform"),
        problems=() if version else ("no Ascend-cann-atb line",),
    )
