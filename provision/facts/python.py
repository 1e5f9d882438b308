"""A Python environment on a node, as an evaluation needs one: its version, what can be imported, files beside it.

Modules are looked for, not imported: importing torch takes seconds and may touch devices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, integer, section, sections
from provision.results import Result
from provision.shell import join, quote


@dataclass(frozen=True, slots=True)
class PathState:
    """``kind``: file, dir, other or missing. ``size`` of a file in bytes; ``entries``: how many names a folder holds,
    at most 1000; ``readable`` by the user that looks."""

    path: str
    kind: str = "missing"
    size: int | None = None
    entries: int | None = None
    readable: bool = False


@dataclass(frozen=True, slots=True)
class PythonEnvironmentValue:
    """``exists``: something is at ``path``; ``python``: the interpreter that was found there, empty for none.

    ``version`` is empty where the interpreter doesn't run. ``modules``: by name the version of what provides it, an
    empty text where it has none, None where it can't be imported. ``files`` in the order of the fact's.
    """

    path: str
    exists: bool = False
    python: str = ""
    version: str = ""
    modules: Mapping[str, str | None] = field(default_factory=dict)
    files: tuple[PathState, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, path: str) -> PathState:
        """The state of ``path``; missing where it wasn't looked at."""
        return next((file for file in self.files if file.path == path), PathState(path))


@dataclass(frozen=True, slots=True)
class PythonEnvironment(Fact[PythonEnvironmentValue]):
    """``path``: a virtual environment's folder, or an interpreter; empty: only ``files`` are looked at."""

    name: ClassVar[str] = "python-environment"
    deadline: ClassVar[float] = 20.0
    path: str = ""
    modules: tuple[str, ...] = ("ais_bench",)
    files: tuple[str, ...] = ()

    def script(self) -> str:
        names = [name for name in self.modules if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]
        python = _LOOK.format(path=quote(self.path), code=quote(_CODE), names=join(names)) if self.path else ""
        return python + _FILES + "".join(f"look {quote(path)}\n" for path in self.files) + ":\n"

    def parse(self, raw: Result) -> PythonEnvironmentValue:
        parts = sections(raw.stdout)
        python = next((" ".join(part.words[1:]) for part in parts if part.words[:1] == ("python",)), "")
        lines = section(raw.stdout, "answer").splitlines()
        version = next((m[1] for line in lines if (m := re.fullmatch(r"version ([0-9.]+\S*)", line))), "")
        found = {m[1]: m[2] for line in lines if (m := re.fullmatch(r"module (\w+) ?(\S*)", line))}
        seen = [_state(line) for line in section(raw.stdout, "files").splitlines()]
        by_number = {number: state for number, state in seen if number is not None}
        return PythonEnvironmentValue(
            path=self.path,
            exists=any(part.words == ("exists",) for part in parts),
            python=python,
            version=version,
            modules={name: found.get(name) for name in self.modules} if version else {},
            files=tuple(_named(by_number.get(i), path) for i, path in enumerate(self.files, 1)),
            problems=complaints(raw) + (_silent(python, lines) if python and not version else ()),
        )


# Not from the present folder: Python would take its folders for packages.
_LOOK = """\
p={path}; y=
[ -e "$p" ] && echo '@@ exists'
for f in "$p/bin/python3" "$p/bin/python" "$p"; do [ -f "$f" ] && [ -x "$f" ] && {{ y=$f; break; }}; done
if [ -n "$y" ]; then
  echo "@@ python $y"
  echo '@@ answer'
  ( cd / && timeout 10 "$y" -B -c {code} {names} ) 2>&1 || echo "exit $?"
fi
"""

_CODE = """\
import sys
from importlib.metadata import version
from importlib.util import find_spec
sys.path[:] = [p for p in sys.path if p]
print("version", sys.version.split()[0])
for name in sys.argv[1:]:
    try:
        found = find_spec(name) is not None
    except Exception:
        found = False
    if found:
        try:
            own = version(name)
        except Exception:
            own = ""
        print("module", name, own)
"""

_FILES = """\
echo '@@ files'
n=0
look() {
  n=$((n + 1)); k=missing r=no s=
  if [ -f "$1" ]; then k=file; s=$(stat -L -c %s "$1" 2>/dev/null)
  elif [ -d "$1" ]; then k=dir; s=$(ls -A "$1" 2>/dev/null | head -n 1000 | wc -l)
  elif [ -e "$1" ]; then k=other; fi
  [ -r "$1" ] && r=yes
  echo $n $k $r $s
}
"""


def _silent(python: str, lines: list[str]) -> tuple[str, ...]:
    if "exit 124" in lines:
        return (f"{python} does not end",)
    said = [line for line in lines if not line.startswith("exit ")]
    return (f"{python} does not run" + (f": {said[-1]}" if said else ""),)


def _state(line: str) -> tuple[int | None, PathState]:
    """``number kind readable size``."""
    words = [*line.split(), "", "", "", ""]
    kind = words[1] if words[1] in ("file", "dir", "other", "missing") else "missing"
    number = integer(words[3])
    size, entries = (number, None) if kind == "file" else (None, number if kind == "dir" else None)
    return integer(words[0]), PathState("", kind, size, entries, words[2] == "yes")


def _named(state: PathState | None, path: str) -> PathState:
    return PathState(path, state.kind, state.size, state.entries, state.readable) if state else PathState(path)
