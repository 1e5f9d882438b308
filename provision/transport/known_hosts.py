"""OpenSSH's known_hosts files: read once a run into dictionaries, asked once a connection.

Understood: plain, hashed (``|1|salt|hash``), ``[host]:port``, patterns with ``*``, ``?`` and ``!``, ``@revoked``. Lines
with ``@cert-authority`` are passed over, as host certificates aren't asked for: the server then shows its plain key,
which must be known by itself. [sshd(8), SSH_KNOWN_HOSTS FILE FORMAT]
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

DEFAULT_PORT = 22


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of one line."""

    file: str
    line: int
    kind: str
    key: bytes
    revoked: bool = False

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class KnownHosts:
    """All entries of some files. Thread-safe once built, ``add`` included."""

    plain: dict[str, list[Entry]] = field(default_factory=dict)
    hashed: list[tuple[bytes, bytes, Entry]] = field(default_factory=list)
    patterns: list[tuple[tuple[str, ...], Entry]] = field(default_factory=list)

    def find(self, names: Iterable[str]) -> list[Entry]:
        """Entries for any of ``names`` (from ``names_of``)."""
        found: dict[Entry, None] = {}
        for name in names:
            found.update(dict.fromkeys(self.plain.get(name, ())))
            found.update((entry, None) for words, entry in self.patterns if _matches(name, words))
            found.update((entry, None) for salt, digest, entry in self.hashed if _hash(salt, name) == digest)
        return list(found)

    def add(self, names: Sequence[str], entry: Entry) -> None:
        for name in names:
            self.plain[name] = [*self.plain.get(name, ()), entry]


def names_of(host: str, port: int, alias: str | None = None) -> tuple[str, ...]:
    """The names under which a host's key may stand, the one to write first. An alias stands for host and port."""
    if alias:
        return (alias.lower(),)
    host = host.lower()
    return (host,) if port == DEFAULT_PORT else (f"[{host}]:{port}", host)


def fingerprint(key: bytes) -> str:
    """As ``ssh-keygen -l`` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def parse(text: str, file: str) -> KnownHosts:
    """Read the text of one file; lines that make no sense are passed over, as OpenSSH does."""
    known = KnownHosts()
    for number, line in enumerate(text.splitlines(), 1):
        _take(known, line.split(), file, number)
    return known


def _take(known: KnownHosts, words: list[str], file: str, number: int) -> None:
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#") or marker not in ("", "@revoked"):
        return
    hosts, kind, encoded = words[:3]
    key = _decode(encoded)
    if not key:
        return
    entry = Entry(file, number, kind, key, revoked=bool(marker))
    if hosts.startswith("|1|"):
        salt, _, digest = hosts[3:].partition("|")
        known.hashed.append((_decode(salt), _decode(digest), entry))
        return
    names = hosts.lower().split(",")
    if any(set(name) & set("*?!") for name in names):
        known.patterns.append((tuple(names), entry))
    else:
        known.add(names, entry)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _hash(salt: bytes, name: str) -> bytes:
    return hmac.digest(salt, name.encode(), "sha1")


def _matches(name: str, words: tuple[str, ...]) -> bool:
    if any(word.startswith("!") and _glob(name, word[1:]) for word in words):
        return False
    return any(_glob(name, word) for word in words if not word.startswith("!"))


def _glob(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern.replace("[", "[[]"))


@lru_cache(maxsize=64)
def load(files: tuple[str, ...]) -> KnownHosts:
    """All of ``files`` that can be read (a missing one is empty). Read once: the same files give the same object."""
    known = KnownHosts()
    for file in files:
        try:
            text = Path(file).expanduser().read_text("utf-8", "replace")
        except OSError:
            continue
        one = parse(text, file)
        for name, entries in one.plain.items():
            known.plain.setdefault(name, []).extend(entries)
        known.hashed += one.hashed
        known.patterns += one.patterns
    return known


_append_lock = threading.Lock()


def append(file: str, name: str, kind: str, key: bytes) -> Entry:
    """Add a line to ``file``, whole or not at all, making file and folder where they are absent. Raises ``OSError``."""
    path = Path(file).expanduser()
    line = f"{name} {kind} {base64.b64encode(key).decode()}\n"
    with _append_lock:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = "\n" + line
            os.write(fd, line.encode())
        finally:
            os.close(fd)
    return Entry(file, 0, kind, key)
