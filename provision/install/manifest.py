"""What a folder must hold, file by file: the checksums that every copy of it is compared with.

Kept as JSON beside the files it is about, under ``NAME``; a folder that can't be written (a read-only share) has it in
the cluster's folder instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from provision.errors import ConfigError

NAME = ".qnext-manifest.json"
"""File name of a manifest; a hub's client and vLLM pass over names that begin with a dot."""

FORMAT = 1


@dataclass(frozen=True, slots=True, order=True)
class File:
    """``path`` below the folder, with ``/``, never leaving it; ``size`` in bytes; ``sha256`` in hex, empty: unknown."""

    path: str
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """``files`` in order of their paths. ``source`` and ``revision`` say where they are from, in words for people."""

    files: tuple[File, ...]
    source: str = ""
    revision: str = ""

    @classmethod
    def of(cls, files: Iterable[File], *, source: str = "", revision: str = "") -> Manifest:
        """Sorted, and safe. Raises ``ConfigError`` for a path that is absolute, leaves the folder, or comes twice."""
        found = tuple(sorted(files))
        for file in found:
            parts = file.path.split("/")
            if not file.path.isprintable() or file.size < 0 or any(part in ("", ".", "..") for part in parts):
                raise ConfigError(f"{file.path!r} is no file of a folder")
        if len({file.path for file in found}) < len(found):
            raise ConfigError("a file comes twice in a manifest")
        return cls(found, source, revision)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def proven(self) -> bool:
        """Whether every file's checksum is known."""
        return all(file.sha256 for file in self.files)

    def file(self, path: str) -> File | None:
        """The file at a path."""
        return next((file for file in self.files if file.path == path), None)

    def with_sums(self, sums: dict[str, str]) -> Manifest:
        """Itself with checksums that were found by path; those it has stay."""
        return replace(self, files=tuple(replace(f, sha256=f.sha256 or sums.get(f.path, "")) for f in self.files))

    def text(self) -> str:
        """As JSON: one line a file, so that a diff of two manifests can be read."""
        head = {"format": FORMAT, "source": self.source, "revision": self.revision}
        rows = [json.dumps([file.path, file.size, file.sha256], ensure_ascii=False) for file in self.files]
        body = json.dumps(head, ensure_ascii=False)[:-1]
        return body + ', "files": [\n' + ",\n".join(rows) + "\n]}\n"

    @classmethod
    def load(cls, text: str) -> Manifest:
        """From its JSON. Raises ``ConfigError`` for anything else: it is read from nodes and hubs."""
        try:
            said = json.loads(text)
            files = [File(path, size, sha256) for path, size, sha256 in said["files"]]
            typed = all(type(f.path) is str and type(f.size) is int and type(f.sha256) is str for f in files)
            if said["format"] != FORMAT or not typed:
                raise ValueError("another format")
            return cls.of(files, source=str(said["source"]), revision=str(said["revision"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"no manifest of files: {error}", hint="remove it: it is made anew") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file here, in hex, read piece by piece. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
