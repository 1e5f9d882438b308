"""Small files by content, and what a folder of ours holds."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, replace
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, integer, sections
from provision.results import Result
from provision.shell import quote

LARGEST = 256 * 1024
"""Bytes: a file above this isn't fetched, only reported."""


@dataclass(frozen=True, slots=True)
class FileValue:
    """``content`` is None where the file is absent or above ``LARGEST``; ``mode`` the permission bits."""

    path: str
    exists: bool = False
    content: bytes | None = None
    mode: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class FilesValue:
    """In the order of the fact's ``paths``."""

    files: tuple[FileValue, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, path: str) -> FileValue:
        """The file at ``path``; absent where it wasn't looked at."""
        return next((f for f in self.files if f.path == path), FileValue(path))


@dataclass(frozen=True, slots=True)
class Files(Fact[FilesValue]):
    """Content and mode of small files (launch scripts)."""

    name: ClassVar[str] = "files"
    paths: tuple[str, ...] = ()

    def script(self) -> str:
        return _LOOK + "".join(f"look {quote(path)}\n" for path in self.paths)

    def parse(self, raw: Result) -> FilesValue:
        found = {part.words[0]: _file(part) for part in sections(raw.stdout) if part.words}
        files = (found.get(f"{i}", FileValue("")) for i in range(1, len(self.paths) + 1))
        named = tuple(replace(file, path=path) for file, path in zip(files, self.paths, strict=True))
        return FilesValue(named, complaints(raw) + tuple(_unread(f) for f in named if f.exists and f.content is None))


_LOOK = f"""\
n=0
look() {{
  n=$((n + 1))
  [ -f "$1" ] || return 0
  s=$(stat -c '%a %s' "$1") || return 0
  echo "@@ $n $s"
  [ "${{s#* }}" -gt {LARGEST} ] || base64 "$1"
}}
"""


def _unread(file: FileValue) -> str:
    if file.size is not None and file.size > LARGEST:
        return f"{file.path}: {file.size} bytes are more than is fetched"
    return f"{file.path}: could not be read"


def _file(part: Section) -> FileValue:
    """``@@ number mode size``, then base64."""
    numbers = [*part.words[1:], "", ""]
    size = integer(numbers[1])
    mode = int(numbers[0], 8) if re.fullmatch(r"[0-7]{1,4}", numbers[0]) else None
    try:
        content = base64.b64decode("".join(part.lines), validate=True)
    except (binascii.Error, ValueError):
        return FileValue("", exists=True, mode=mode, size=size)
    return FileValue("", exists=True, content=content if len(content) == size else None, mode=mode, size=size)


@dataclass(frozen=True, slots=True)
class ListingValue:
    """``entries`` are paths below the folder, relative to it, folders with a trailing slash, sorted."""

    folder: str
    exists: bool = False
    entries: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listing(Fact[ListingValue]):
    """Everything below ``folder`` (ours, so it's small): what is left after ``down``."""

    name: ClassVar[str] = "listing"
    folder: str = ""

    def script(self) -> str:
        return f"""\
cd {quote(self.folder)} 2>/dev/null || exit 0
echo '@@ entries'; find . ! -name . \\( -type d -exec printf '%s/\\n' {{}} \\; -o -print \\)
"""

    def parse(self, raw: Result) -> ListingValue:
        parts = sections(raw.stdout)
        lines = [line.removeprefix("./") for part in parts for line in part.lines if line]
        return ListingValue(self.folder, bool(parts), tuple(sorted(lines)), complaints(raw))
