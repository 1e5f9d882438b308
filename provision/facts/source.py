"""What a source install has on a node: the venv, told by the record in it, and the set of wheels it is made from.

Both records are written last by the scripts that make them, so what is half made has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Json, complaints, section
from provision.results import Result
from provision.shell import quote

VENV_RECORD = "qnext.json"
"""File name in the venv: what ``docker image inspect`` is of an image."""

WHEELS_RECORD = "built"
"""File name beside the wheels: what they are, from which commits, and their checksums."""

SUMS = "sums"
"""File name beside the wheels: checksums of all else there, as ``sha256sum -c`` reads them."""

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class VenvRecord:
    """``id`` is equal where the same packages were installed from the same wheels; ``set_id`` is that of the wheels.
    ``arch`` as docker calls it, ``versions`` by package."""

    id: str
    set_id: str = ""
    created: str = ""
    arch: str = ""
    python: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file of the set: name, bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class WheelsRecord:
    """A set of wheels. ``set_id``: sha256 of its checksums. ``machine`` as ``uname -m`` says; ``python``: 3.11.
    ``commits`` by part, of those that were built; ``versions`` by package."""

    set_id: str
    key: str = ""
    created: str = ""
    machine: str = ""
    python: str = ""
    files: tuple[Wheel, ...] = ()
    commits: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceInstallValue:
    """``venv`` and ``wheels`` are None where there is none, or a half-made one. ``sizes`` of the files beside the
    wheels' record. ``machine``: ``uname -m``. ``python``: version of the interpreter that venvs are made from."""

    venv: VenvRecord | None = None
    wheels: WheelsRecord | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    machine: str = ""
    python: str = ""
    problems: tuple[str, ...] = ()

    @property
    def lacking(self) -> tuple[str, ...]:
        """Files of the set that are not there, or not of their size."""
        files = self.wheels.files if self.wheels else ()
        return tuple(file.path for file in files if self.sizes.get(file.path) != file.size)

    @property
    def whole(self) -> bool:
        """Whether a set of wheels is there with all its files, by their sizes."""
        return self.wheels is not None and not self.lacking


@dataclass(frozen=True, slots=True)
class SourceInstall(Fact[SourceInstallValue]):
    """``venv`` and ``wheels`` are their folders on the node, ``python`` the interpreter as the inventory names it."""

    name: ClassVar[str] = "source-install"
    deadline: ClassVar[float] = 20.0
    venv: str = ""
    wheels: str = ""
    python: str = "python3"

    def script(self) -> str:
        return f"""\
v={quote(self.venv)} w={quote(self.wheels)}
echo '@@ machine'; uname -m
echo '@@ python'
p=$(command -v {quote(self.python)}) && timeout 10 "$p" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>&1
echo '@@ venv'
if [ -x "$v/bin/python" ] && [ -f "$v/{VENV_RECORD}" ]; then head -c 262144 "$v/{VENV_RECORD}"; fi
echo
if [ -f "$w/{WHEELS_RECORD}" ]; then
  echo '@@ wheels'; head -c 2097152 "$w/{WHEELS_RECORD}"; echo
  echo '@@ sums'; sha256sum "$w/{SUMS}" "$w/{WHEELS_RECORD}" 2>/dev/null
  echo '@@ sizes'; cd "$w" && stat -L -c '%s %n' -- * 2>/dev/null
fi
:
"""

    def parse(self, raw: Result) -> SourceInstallValue:
        python = section(raw.stdout, "python").strip()
        sums = re.findall(r"^([0-9a-f]{64}) .*?([^/\n]+)$", section(raw.stdout, "sums"), re.MULTILINE)
        sizes = re.findall(r"^(\d{1,15}) (.+)$", section(raw.stdout, "sizes"), re.MULTILINE)
        by_path = {path: int(size) for size, path in sizes}
        runs = bool(re.fullmatch(r"\d+\.\d+\.\d+", python))
        return SourceInstallValue(
            venv=_venv(Json.load(section(raw.stdout, "venv"))),
            wheels=_wheels(Json.load(section(raw.stdout, "wheels")), {name: value for value, name in sums}, by_path),
            sizes=by_path,
            machine=section(raw.stdout, "machine").strip(),
            python=python if runs else "",
            problems=complaints(raw)
            + ((f"{self.python} does not run: {python[:200]}",) if python and not runs else ()),
        )


def _venv(said: Json) -> VenvRecord | None:
    if not said.at("id").text:
        return None
    return VenvRecord(
        id=said.at("id").text,
        set_id=said.at("wheels").text,
        created=said.at("created").text,
        arch=said.at("arch").text,
        python=said.at("python").text,
        versions=_texts(said.at("versions")),
    )


def _wheels(said: Json, sums: Mapping[str, str], sizes: Mapping[str, int]) -> WheelsRecord | None:
    """The set; None for a record that does not belong to the checksums beside it."""
    set_id = sums.get(SUMS, "")
    if not set_id or said.at("sums").text != set_id:
        return None
    rows = [_wheel(row.items) for row in said.at("files").items]
    own = [Wheel(name, sizes.get(name, 0), sums[name]) for name in (SUMS, WHEELS_RECORD) if name in sums]
    if None in rows or len(own) < 2:
        return None
    return WheelsRecord(
        set_id=set_id,
        key=said.at("key").text,
        created=said.at("created").text,
        machine=said.at("machine").text,
        python=said.at("python").text,
        files=(*(row for row in rows if row), *own),
        commits=_texts(said.at("commits")),
        versions=_texts(said.at("versions")),
    )


def _wheel(row: list[Json]) -> Wheel | None:
    if len(row) != 3 or row[1].number is None or not _SHA256.match(row[2].text):
        return None
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+!-]*", row[0].text)
    return Wheel(row[0].text, row[1].number, row[2].text) if plain else None


def _texts(said: Json) -> dict[str, str]:
    return {name: value.text for name, value in said.entries.items() if value.text}
