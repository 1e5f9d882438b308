"""Bytes of files and archives that somebody sent: read into memory, within limits, and never trusted.

Of a file that is too long the end is kept. A broken archive gives what is whole before the break. A bomb (little that
unpacks to much) ends the reading.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from provision.amounts import size_text
from provision.errors import UsageError

ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz", ".zip")
_PIECE = 1 << 20
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, tarfile.TarError, ValueError)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes: ``file`` is kept of each, the end of it; ``kept`` of all together, so that the last of many files has
    still a part: none takes more than an eighth of what is left, nor less than ``sure``. ``ratio`` times the archive's
    size, and at least ``least``, is unpacked at most. ``files``: how many are read."""

    file: int = 8 << 20
    kept: int = 192 << 20
    sure: int = 64 << 10
    ratio: int = 250
    least: int = 256 << 20
    files: int = 20_000

    def share(self, left: int, name: str = "") -> int:
        """Bytes of the file ``name``, where ``left`` of all are left. A manifest without its beginning is none."""
        return 64 << 20 if name.rpartition("/")[2] == "manifest.json" else min(self.file, max(left // 8, self.sure))


@dataclass(frozen=True, slots=True)
class File:
    """``content``: the end of it where it is ``cut``. ``named``: the operator named it, so it is meant."""

    path: str
    content: bytes = b""
    cut: bool = False
    problem: str = ""
    named: bool = False


def in_file(stream: BinaryIO, path: str, limits: Limits) -> File:
    """One file, unpacked where it is gzip's. Reads to the end: the end is what matters."""
    first = stream.read(2)
    if first != b"\x1f\x8b":
        return _end(stream, path, limits, first)
    packed = gzip.GzipFile(fileobj=cast("BinaryIO", _Replayed(first, stream)))
    size = Path(path).name.removesuffix(".gz")
    return _end(cast("BinaryIO", packed), str(Path(path).with_name(size)) if size else path, limits, b"")


class _Replayed:
    """A stream whose first bytes have been read already: a pipe can't be read again."""

    def __init__(self, first: bytes, stream: BinaryIO) -> None:
        self._first, self._stream = first, stream

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first or self._stream.read(size)


def _end(stream: BinaryIO, path: str, limits: Limits, first: bytes) -> File:
    kept, whole, problem = bytearray(first), len(first), ""
    try:
        while piece := stream.read(_PIECE):
            kept += piece
            whole += len(piece)
            if len(kept) > limits.file + 2 * _PIECE:
                del kept[: len(kept) - limits.file]
            if whole > limits.least * 16:
                problem = f"only its first {whole >> 20} MiB were read"
                break
    except _BROKEN as error:
        problem = f"it is broken after {whole} bytes: {error or type(error).__name__}"
    return _bounded(path, kept, whole, limits.file, problem)


def _bounded(path: str, kept: bytearray, whole: int, most: int, problem: str) -> File:
    if whole <= most:
        return File(path, bytes(kept), problem=problem)
    said = f"of {size_text(whole)} the last {size_text(most)} were read"
    return File(path, _from_line(bytes(kept[-most:] if most else b"")), True, problem or said)


def _from_line(content: bytes) -> bytes:
    """Without the line that begins before it, unless that is all."""
    return content[content.find(b"\n") + 1 :] or content


def in_archive(path: Path, limits: Limits, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[File]:
    """The regular files in a tar, packed or not. Never raises for what is broken: the last file says so."""
    if path.name.endswith(".zip"):
        raise UsageError(f"{path}: zip archives are not read", hint="unpack it, and give the folder")
    most = max(limits.least, limits.ratio * path.stat().st_size)
    with path.open("rb") as raw:
        counted = _Counted(_opened(raw, path.name), most)
        left, count = limits.kept, 0
        try:
            with tarfile.open(fileobj=cast("BinaryIO", counted), mode="r|") as tar:
                for member in tar:
                    count += 1
                    if count > limits.files:
                        yield File(path.name, problem=f"only the first {limits.files} entries were read")
                        return
                    if member.isreg() and wanted(member.name):
                        file = _member(tar, member, limits.share(left, member.name))
                        left = max(left - len(file.content), 0)
                        yield file
        except _TooMuch:
            yield File(path.name, problem=f"it unpacks to more than {most >> 20} MiB: the rest was not read")
        except _BROKEN as error:
            yield File(path.name, problem=f"the archive is broken, what is whole was read: {error}")


def _opened(raw: BinaryIO, name: str) -> BinaryIO:
    first = raw.read(6)
    raw.seek(0)
    if first.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if first.startswith(b"BZh"):
        return cast("BinaryIO", bz2.BZ2File(raw))
    return cast("BinaryIO", lzma.LZMAFile(raw)) if first == b"\xfd7zXZ\x00" else raw


class _TooMuch(Exception):
    """An archive unpacks to more than is reasonable."""


class _Counted:
    """A stream that ends where it gives too much. A broken one ends at the break, and says it at the next read, so that
    what came before it is used."""

    def __init__(self, stream: BinaryIO, most: int) -> None:
        self._stream, self._left = stream, most

    def read(self, size: int = -1) -> bytes:
        if self._left <= 0:
            raise _TooMuch
        piece = self._stream.read(min(size, _PIECE) if size > 0 else _PIECE)
        self._left -= len(piece)
        return piece


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> File:
    kept, whole, problem = bytearray(), 0, ""
    stream = tar.extractfile(member)
    try:
        while stream and (piece := stream.read(_PIECE)):
            kept += piece
            whole += len(piece)
            if len(kept) > most + 2 * _PIECE:
                del kept[: len(kept) - most]
    except _BROKEN as error:
        problem = f"it is broken after {whole} bytes: {error or type(error).__name__}"
    if member.name.endswith(".gz") and kept[:2] == b"\x1f\x8b" and not problem and whole <= most:
        return _unpacked(member.name, bytes(kept), most)
    return _bounded(member.name, kept, whole, most, problem)


def _unpacked(name: str, content: bytes, most: int) -> File:
    """A packed log in the archive."""
    import io

    return in_file(io.BytesIO(content), name, Limits(file=most, least=most))


def is_text(content: bytes) -> bool:
    """Whether this is a log at all: hardly any control characters at its beginning and at its end."""
    if content[:2] in _UTF16:
        return True
    for sample in (content[:4096], content[-4096:]):
        odd = sum(byte < 32 and byte not in _TEXT for byte in sample)
        if odd > max(len(sample) // 20, 1):
            return False
    return True


_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TEXT = b"\t\n\r\x0b\x0c\x08\x1b"


def plain(content: bytes) -> str:
    """Text, whatever its encoding: Windows' tools write UTF-16."""
    if content[:2] in _UTF16:
        return content.decode("utf-16", "replace")
    return content.decode("utf-8", "replace").replace("\x00", "")
