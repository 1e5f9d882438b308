"""Small files by content, and what a folder of ours holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact

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
