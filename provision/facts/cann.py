"""Every CANN on the host, wherever its packages went, and NNAL (ATB) beside it.

A host that serves from images needs none. One that serves from source needs toolkit and NNAL of one version, and their
``set_env.sh``. Up to 8.3 the toolkit is below ``ascend-toolkit/<version>``, from 8.5 in ``cann-<version>``; ``latest``
and ``cann`` are links to the one in use [samples/npu FIELDS 12].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.cann import CannVersion, parse_cann
from provision.accel.ascend.version import parse_version
from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, pairs, sections
from provision.results import Result

ASCEND = "/usr/local/Ascend"


@dataclass(frozen=True, slots=True)
class CannInstall:
    """One installation. ``home``: its folder as found. ``file``: the record it was read from; ``real``: that,
    without links.

    ``current``: ``latest`` or ``cann`` leads here. ``set_env``: its script, None where that is missing. ``package`` is
    ``Ascend-cann-toolkit``, ``Ascend-cann-nnae``… ``compatible`` are inner versions of drivers that it works with.
    """

    home: str
    real: str
    file: str | None = None
    package: str | None = None
    version: str | None = None
    inner_version: str | None = None
    arch: str | None = None
    compatible: tuple[str, ...] = ()
    current: bool = False
    set_env: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CannValue:
    """``installs`` in the order found, each record once; ``nnal`` is None where there is no ATB.

    ``nnal_library``: the path of libatb.so, without which torch_npu does not load.
    """

    installs: tuple[CannInstall, ...] = ()
    nnal: CannInstall | None = None
    nnal_library: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def current(self) -> CannInstall | None:
        """The one that ``latest`` or ``cann`` leads to, else the newest; None where none is installed."""
        known = [install for install in self.installs if install.version]
        chosen = [install for install in known if install.current] or known
        dated = [(version, install) for install in chosen if (version := parse_version(install.version or ""))]
        return max(dated, key=lambda pair: pair[0])[1] if dated else next(iter(chosen), None)

    @property
    def version(self) -> str | None:
        """The version of ``current``."""
        return self.current.version if self.current else None


@dataclass(frozen=True, slots=True)
class Cann(Fact[CannValue]):
    """CANN toolkits, nnae and NNAL below /usr/local/Ascend."""

    name: ClassVar[str] = "cann"

    def script(self) -> str:
        return f"""\
A={ASCEND}
for d in $A/ascend-toolkit/* $A/nnae/* $A/cann $A/cann-* $A/nnal/atb/*; do
  if [ -L "$d" ] && [ ! -e "$d" ]; then echo "@@ dangling $d"; fi
  [ -d "$d" ] || continue
  f=
  for x in "$d"/*-linux/ascend_toolkit_install.info "$d"/ascend_toolkit_install.info \\
    "$d"/ascend_nnae_install.info "$d"/*-linux/ascend_nnae_install.info "$d"/version.cfg "$d"/version.info; do
    if [ -f "$x" ]; then f=$x; break; fi
  done
  [ "$f" ] || [ -L "$d" ] || [ -f "$d/set_env.sh" ] || continue
  s=; for x in "$d/set_env.sh" "${{d%/*}}/set_env.sh"; do
    if [ -f "$x" ]; then s=$x; break; fi
  done
  echo "@@ home"; echo "home=$d"; echo "real=$(readlink -f "${{f:-$d}}")"; echo "file=$f"; echo "set_env=$s"
  [ -z "$f" ] || {{ echo "@@ text"; head -c 8192 "$f"; echo; }}
done
for x in $A/nnal/atb/latest/atb/cxx_abi_*/lib/libatb.so; do
  if [ -e "$x" ]; then echo "@@ library $x"; break; fi
done
:
"""

    def parse(self, raw: Result) -> CannValue:
        parts = sections(raw.stdout)
        pairs_of = zip(parts, [*parts[1:], Section((), "")], strict=False)
        found = [_install(part, text) for part, text in pairs_of if part.words == ("home",)]
        library = next((" ".join(part.words[1:]) for part in parts if part.words[:1] == ("library",)), None)
        dangling = tuple(f"{' '.join(p.words[1:])} leads nowhere" for p in parts if p.words[:1] == ("dangling",))
        nnal = [install for install in found if "/nnal/" in install.home]
        return CannValue(
            installs=tuple(_distinct([install for install in found if install not in nnal])),
            nnal=next(iter(_distinct(nnal)), None),
            nnal_library=library,
            problems=complaints(raw) + dangling,
        )


def _install(part: Section, text: Section) -> CannInstall:
    said = pairs(part.lines)
    home, file = said.get("home", ""), said.get("file") or None
    read = parse_cann(text.body) if file and text.words == ("text",) else CannVersion(problems=("no version file",))
    return CannInstall(
        home=home,
        real=said.get("real") or home,
        file=file,
        package=read.package,
        version=read.version,
        inner_version=read.inner_version,
        arch=read.arch,
        compatible=read.compatible,
        current=home.rpartition("/")[2] in ("latest", "cann"),
        set_env=said.get("set_env") or None,
        problems=read.problems,
    )


def _distinct(found: list[CannInstall]) -> list[CannInstall]:
    """Each record once; the link to it comes first, so that it is known as the one in use."""
    kept: dict[str, CannInstall] = {}
    for install in sorted(found, key=lambda one: not one.current):
        kept.setdefault(install.real, install)
    return [install for install in found if kept[install.real] is install]
