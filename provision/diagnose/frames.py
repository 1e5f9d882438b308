"""The stream that ``templates/collect/collect.sh`` sends, read as it comes and with no trust in the node.

Compressed members, frames and tar archives are read piece by piece: memory stays the same whatever a node sends, and
what was whole before a stream broke is whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

PIECE = 1 << 20
"""Bytes that are handed on at a time, at most."""

_LONGEST_LINE = 1 << 16
_LONGEST_NAME = 1 << 16
_GZIP = b"\x1f\x8b"
_BLOCK = 512


class BrokenStream(Exception):
    """What came is not what the script sends."""


class Unpacker:
    """Gzip members one after the other, or plain bytes where the node has no gzip."""

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = None
        self._plain = False
        self._held = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` adds, in pieces. Raises ``BrokenStream`` where it is damaged."""
        data = self._held + data
        self._held = b""
        while data:
            if self._plain:
                yield data
                return
            if self._member is None:
                if len(data) < len(_GZIP):
                    self._held = data
                    return
                if data[:2] != _GZIP:
                    self._plain = True
                    continue
                self._member = zlib.decompressobj(31)
            try:
                piece = self._member.decompress(data, PIECE)
            except zlib.error as error:
                raise BrokenStream(f"damaged data: {error}") from None
            if piece:
                yield piece
            data = self._member.unconsumed_tail
            if self._member.eof:
                data, self._member = self._member.unused_data, None


@dataclass(frozen=True, slots=True)
class Header:
    """What a file is, before its content. ``form``: "file", or "tar" for a folder."""

    kind: str
    form: str
    path: str
    process: str
    command: str


@dataclass(frozen=True, slots=True)
class Trailer:
    """How it went. ``exit`` is None where not even that is known; ``whole`` in bytes, 0 where unknown."""

    exit: int | None
    seconds: int
    whole: int
    problem: str


@dataclass(frozen=True, slots=True)
class Omitted:
    """A file that the node left out."""

    kind: str
    path: str
    process: str
    whole: int
    problem: str


class Receiver(Protocol):
    """Who takes what a stream holds, in its order."""

    def doing(self, text: str) -> None: ...
    def opened(self, header: Header) -> None: ...
    def data(self, content: bytes) -> None: ...
    def closed(self, trailer: Trailer | None) -> None:
        """``trailer`` is None where the stream broke off."""

    def omitted(self, file: Omitted) -> None: ...


class Frames:
    """Frames of a stream. ``done``: it came to its end."""

    def __init__(self, receiver: Receiver) -> None:
        self.done = False
        self._to = receiver
        self._buffer = bytearray()
        self._inside = False
        self._first = False
        self._unpacker = Unpacker()

    def feed(self, data: bytes) -> None:
        """Raises ``BrokenStream`` for what the script can't have sent."""
        for piece in self._unpacker.feed(data):
            self._buffer += piece
            while self._content() if self._inside else self._control():
                pass

    def end(self) -> None:
        """The stream is over: what is open is broken off."""
        if self._inside:
            self._inside = False
            self._emit(bytes(self._buffer))
            self._to.closed(None)

    def _control(self) -> bool:
        """Take one control line. False where there is none yet."""
        cut = self._buffer.find(b"\n")
        if max(cut, len(self._buffer) if cut < 0 else 0) > _LONGEST_LINE:
            raise BrokenStream("a line without an end")
        if cut < 0:
            return False
        line = bytes(self._buffer[:cut])
        del self._buffer[: cut + 1]
        self._said(line.decode("utf-8", "replace").split("\t"))
        return True

    def _said(self, words: list[str]) -> None:
        match words:
            case ["@doing", text]:
                self._to.doing(text)
            case ["@file", kind, form, path, process, command]:
                self._inside = True
                self._buffer[:0] = b"\n"  # each line of the content, the first one too, is "\n " and its bytes
                self._first = True
                self._to.opened(Header(kind, form, path, process, command))
            case ["@end", code, seconds, whole, *problem]:
                self._to.closed(Trailer(_number(code), _number(seconds) or 0, _number(whole) or 0, " ".join(problem)))
            case ["@omit", kind, path, process, whole, *problem]:
                self._to.omitted(Omitted(kind, path, process, _number(whole) or 0, " ".join(problem)))
            case ["@done"]:
                self.done = True
            case _:
                raise BrokenStream("a line that the script doesn't write")

    def _content(self) -> bool:
        """Hand on content. True where it has ended and its trailer is next."""
        cut = self._buffer.find(b"\n@")
        if cut >= 0:
            self._emit(bytes(self._buffer[:cut]))
            del self._buffer[: cut + 1]
            self._inside = False
            return True
        keep = 1 if self._buffer.endswith(b"\n") else 0
        if len(self._buffer) > keep:
            self._emit(bytes(self._buffer[: len(self._buffer) - keep]))
            del self._buffer[: len(self._buffer) - keep]
        return False

    def _emit(self, raw: bytes) -> None:
        if not raw:
            return
        if self._first:
            raw, self._first = raw[1:] if raw[:2] != b"\n " else raw[2:], False
        self._to.data(raw.replace(b"\n ", b"\n"))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


class TarFiles(Protocol):
    """Who takes the plain files of a tar archive."""

    def file(self, name: str, size: int, modified: int) -> None: ...
    def data(self, content: bytes) -> None: ...
    def passed_over(self, name: str, what: str) -> None: ...


_OTHER = {"1": "a hard link", "2": "a link", "3": "a device", "4": "a device", "6": "a pipe"}


class Tar:
    """A tar archive as docker cp, podman cp and tar write it (ustar, long names of GNU's and of pax). Nothing but plain
    files is handed on. ``ended``: its end was told; ``members``: plain files so far."""

    def __init__(self, to: TarFiles) -> None:
        self.ended = False
        self.members = 0
        self._to = to
        self._buffer = bytearray()
        self._left = 0
        self._padding = 0
        self._special: bytearray | None = None
        self._type = ""
        self._name = ""
        self._size: int | None = None
        self._writing = False

    def feed(self, data: bytes) -> None:
        """Raises ``BrokenStream`` where this is no tar archive."""
        self._buffer += data
        while self._buffer and not self.ended and self._step():
            pass
        if self.ended:
            self._buffer.clear()

    def _step(self) -> bool:
        if self._left:
            return self._body()
        if self._padding:
            skip = min(self._padding, len(self._buffer))
            del self._buffer[:skip]
            self._padding -= skip
            return True
        if len(self._buffer) < _BLOCK:
            return False
        block = bytes(self._buffer[:_BLOCK])
        del self._buffer[:_BLOCK]
        self._header(block)
        return True

    def _body(self) -> bool:
        piece = bytes(self._buffer[: self._left])
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        if self._special is not None:
            self._special += piece
            if not self._left:
                self._named(bytes(self._special))
                self._special = None
        elif self._writing:
            self._to.data(piece)
        return True

    def _header(self, block: bytes) -> None:
        if not block.strip(b"\0"):
            self.ended = True
            return
        total = sum(block[:148]) + 8 * 32 + sum(block[156:])
        if _octal(block[148:156]) != total:
            raise BrokenStream("not a tar archive")
        self._type = chr(block[156])
        size = _octal(block[124:136])
        if self._type in "xgLK":
            if size > _LONGEST_NAME:
                raise BrokenStream("a name in the tar archive is too long")
            self._left, self._special = size, bytearray() if size else None
        else:
            self._member(block, size)
        self._padding = -self._left % _BLOCK

    def _member(self, block: bytes, size: int) -> None:
        size = size if self._size is None else self._size
        name = self._name or _text(block[345:500] if block[257:262] == b"ustar" and block[263:265] == b"00" else b"")
        if not self._name:
            name = f"{name}/{_text(block[:100])}" if name else _text(block[:100])
        self._name, self._size = "", None
        self._left = 0 if self._type in "123456" else size
        self._writing = self._type in "\x0007" and not name.endswith("/")
        if self._writing:
            self.members += 1
            self._to.file(name, size, _octal(block[136:148]))
        elif self._type != "5":
            self._to.passed_over(name, _OTHER.get(self._type, "of an unknown kind"))

    def _named(self, content: bytes) -> None:
        if self._type == "L":
            self._name = _text(content)
        elif self._type == "x":
            records = _pax(content)
            self._name = records.get("path", self._name)
            if "size" in records:
                self._size = _number(records["size"])


def _pax(content: bytes) -> Mapping[str, str]:
    """The records ``LENGTH key=value\\n`` of a pax header."""
    found = {}
    while content:
        length, _, _ = content.partition(b" ")
        count = _number(length.decode("latin-1"))
        if not count or count <= len(length) + 1 or count > len(content):
            break
        key, _, value = content[len(length) + 1 : count].rstrip(b"\n").partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        content = content[count:]
    return found


def _octal(field: bytes) -> int:
    """A number of a header: octal, or GNU's binary form."""
    if field[0] & 0x80:
        number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if number >= 1 << 62:
            raise BrokenStream("a size in the tar archive is out of range")
        return number
    digits = field.strip(b" \0")
    if digits and not all(48 <= digit <= 55 for digit in digits):
        raise BrokenStream("not a tar archive")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
