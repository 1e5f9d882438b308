"""What a build from source finds on a node: compilers and tools with their versions, headers, and the interpreter.

Compilers are asked by the names that the build's environment gives them (``CXX_COMPILER``), else by their usual ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, section
from provision.results import Result
from provision.shell import quote

TOOLS = ("gcc", "g++", "cmake", "ninja", "make", "git", "rustc")


@dataclass(frozen=True, slots=True)
class ToolchainValue:
    """``versions`` by tool; "" where it is there and tells none, None where it is not there. ``python``: version of the
    interpreter, empty where it does not run; ``said`` is then what came instead.

    ``lacks``: modules that a venv needs (venv, ensurepip) and the interpreter lacks. ``headers``: Python.h, numa.h that
    were found. ``manager``: apt-get, dnf, yum or empty. ``root``: whether commands run as root.
    """

    versions: Mapping[str, str | None] = field(default_factory=dict)
    python: str = ""
    said: str = ""
    lacks: tuple[str, ...] = ()
    headers: frozenset[str] = frozenset()
    manager: str = ""
    root: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Toolchain(Fact[ToolchainValue]):
    """``python``, ``cc`` and ``cxx`` as the inventory names them."""

    name: ClassVar[str] = "toolchain"
    deadline: ClassVar[float] = 20.0
    python: str = "python3"
    cc: str = "gcc"
    cxx: str = "g++"

    def script(self) -> str:
        names = " ".join(quote(f"{tool}={self._command(tool)}") for tool in TOOLS)
        return f"""\
echo '@@ tools'
for pair in {names}; do
  command -v "${{pair#*=}}" >/dev/null 2>&1 || continue
  echo "${{pair%%=*}} $(timeout 5 "${{pair#*=}}" --version 2>/dev/null | head -n 1)"
done
echo '@@ python'
p=$(command -v {quote(self.python)}) && timeout 10 "$p" -c {quote(_CODE)} 2>&1
echo '@@ headers'; for f in /usr/include/numa.h /usr/local/include/numa.h; do [ ! -f "$f" ] || echo numa.h; done
echo '@@ manager'; for m in apt-get dnf yum; do command -v "$m" >/dev/null 2>&1 && {{ echo "$m"; break; }}; done
echo '@@ user'; id -u
:
"""

    def _command(self, tool: str) -> str:
        return {"gcc": self.cc, "g++": self.cxx}.get(tool, tool)

    def parse(self, raw: Result) -> ToolchainValue:
        lines = section(raw.stdout, "tools").splitlines()
        named = {words[0]: words[2] for line in lines if (words := line.partition(" "))[0] in TOOLS}
        said = section(raw.stdout, "python")
        version = re.search(r"^version (\d+\.\d+\.\d+)", said, re.MULTILINE)
        return ToolchainValue(
            versions={tool: _version(named[tool]) if tool in named else None for tool in TOOLS},
            python=version[1] if version else "",
            said="" if version else said.strip()[:200],
            lacks=tuple(re.findall(r"^lacks (\w+)$", said, re.MULTILINE)),
            headers=frozenset(
                [*section(raw.stdout, "headers").split(), *re.findall(r"^header (\S+)$", said, re.MULTILINE)]
            ),
            manager=section(raw.stdout, "manager").strip(),
            root=section(raw.stdout, "user").strip() == "0",
            problems=complaints(raw),
        )


_CODE = """\
import sys
print("version", "%d.%d.%d" % sys.version_info[:3])
for name in ("venv", "ensurepip"):
    try:
        __import__(name)
    except ImportError:
        print("lacks", name)
import os, sysconfig
if os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("header Python.h")
"""


def _version(line: str) -> str:
    """The last number with dots in the first line of ``--version``: g++ names its packager's version before its own."""
    found = re.findall(r"(?<![\w.])(\d+(?:\.\d+)+)", line)
    return found[-1] if found else ""
