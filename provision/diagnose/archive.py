"""The archive on the controller's disk: a folder while it grows, one file when it is whole.

``<target>.partial/`` holds what has come so far, for its owner alone, and what is known of it, so that a call that was
interrupted goes on. Names that come from nodes are made harmless before they name anything here.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import gmtime, strftime
from typing import BinaryIO

from provision import clock
from provision.diagnose.manifest import FileEntry
from provision.errors import UsageError

_UNFIT = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?"<>|\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
_LONGEST = 120
_DEEPEST = 12


def safe_path(text: str) -> str:
    """A relative path that stays below the folder it is put in, can be typed, and lies on any file system."""
    parts = [_safe_name(part) for part in text.split("/") if part not in ("", ".")]
    if len(parts) > _DEEPEST:
        parts = [*parts[: _DEEPEST - 2], _short("/".join(parts[_DEEPEST - 2 : -1]), 40), parts[-1]]
    return "/".join(parts) or "_"


def _safe_name(part: str) -> str:
    name = _UNFIT.sub("_", part).strip(" ")
    if not name.strip("."):
        return "_"
    return name if len(name.encode()) <= _LONGEST else _short(name, _LONGEST)


def _short(name: str, longest: int) -> str:
    """The beginning and the end of a name, and a digest of all of it between."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    half = (longest - 10) // 2
    head = name.encode()[:half].decode("utf-8", "ignore")
    tail = name.encode()[-half:].decode("utf-8", "ignore")
    return f"{head}~{digest}~{tail}".replace("/", "_")


class Names:
    """Paths that were given away: no two are the same, not even where case does not count, and none is a folder of
    another one."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def claim(self, text: str) -> str:
        """``safe_path(text)``, with a number where it is taken."""
        *folders, last = safe_path(text).split("/")
        path = ""
        for folder in folders:
            path = self._free(f"{path}{folder}", self._files) + "/"
            self._folders.add(path[:-1].casefold())
        path = self._free(path + last, self._files | self._folders if last else self._files)
        self._files.add(path.casefold())
        return path

    def _free(self, path: str, taken: set[str]) -> str:
        number, tried = 1, path
        while tried.casefold() in taken:
            number += 1
            tried = f"{path}~{number}"
        return tried


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What came of a node. ``complete``: its stream came to its end; ``problem``: why not."""

    node: str
    complete: bool
    files: tuple[FileEntry, ...] = ()
    problem: str = ""


class Partial:
    """The folder of an archive that grows. ``name``: that of the only folder in the archive."""

    def __init__(self, target: Path, name: str) -> None:
        self.target = target
        self.path = partial_path(target)
        self.name = name
        self._lock = -1

    @property
    def folder(self) -> Path:
        return self.path / self.name

    @classmethod
    def open(cls, target: Path, name: str, *, afresh: bool = False) -> Partial:
        """Begin, or go on where an earlier call to ``target`` ended. Raises ``UsageError`` where ``target`` is
        something else, or can't be written."""
        path = partial_path(target)
        if target.exists() and not path.is_dir():
            hint = "name another file with -o, or remove this one"
            raise UsageError(f"{target} exists already, and is not overwritten", hint=hint)
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            lock = _locked(path)
            if afresh:
                _emptied(path)
            (path / "nodes").mkdir(mode=0o700, exist_ok=True)
            known = path / "name"
            if not known.exists():
                _write(known, name.encode())
            made = cls(target, safe_path(known.read_text(encoding="utf-8")).replace("/", "_"))
            made._lock = lock
            made.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="name another place with -o") from None
        return made

    def record(self, node: str) -> NodeRecord | None:
        """What an earlier call had of a node."""
        try:
            raw = json.loads(self._record(node).read_text(encoding="utf-8"))
            return NodeRecord(
                raw["node"], raw["complete"], tuple(FileEntry(**file) for file in raw["files"]), raw["problem"]
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, record: NodeRecord) -> None:
        new = self._record(record.node).with_suffix(".new")
        _write(new, json.dumps(asdict(record), ensure_ascii=False).encode("utf-8", "replace"))
        new.replace(self._record(record.node))

    def _record(self, node: str) -> Path:
        return self.path / "nodes" / f"{safe_path(node).replace('/', '_')}.json"

    def create(self, path: str) -> BinaryIO:
        """A new file below the archive's folder, for its owner alone; never through a link."""
        return os.fdopen(_opened(self._place(path)), "wb")

    def _place(self, path: str) -> Path:
        place = self.folder
        *folders, last = path.split("/")
        for folder in folders:
            place /= folder
            place.mkdir(mode=0o700, exist_ok=True)
        return place / last

    def write(self, path: str, content: bytes) -> None:
        """Write a file of our own, in place of an older one."""
        _write(self._place(path), content)

    def copy(self, path: str, source: Path) -> int:
        """A copy of a file of the controller's; its size."""
        with source.open("rb") as file, self.create(path) as out:
            shutil.copyfileobj(file, out, 1 << 20)
            return out.tell()

    def clear(self, folder: str) -> None:
        """Remove what an earlier call had below ``folder``."""
        shutil.rmtree(self.folder / folder, ignore_errors=True)

    def pack(self) -> int:
        """Make the archive; its size in bytes. It takes ``target``'s place in one step, after it was read again."""
        new = self.path / "archive.tar.gz"
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())
        with (
            os.fdopen(_opened(new), "wb") as raw,
            gzip.GzipFile("", "wb", 4, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in files:
                _add(archive, path, f"{self.name}/{path.relative_to(self.folder).as_posix()}")
        _verify(new, [path.stat().st_size for path in files])
        new.replace(self.target)
        return self.target.stat().st_size

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let another call go on from here."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _locked(path: Path) -> int:
    """A lock on the folder, which ends with its holder. Raises ``UsageError`` where another call has it."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        hint = "wait for it, or name another file with -o"
        raise UsageError(f"another call is collecting into {path}", hint=hint) from None
    return lock


def _emptied(path: Path) -> None:
    for one in path.iterdir():
        shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()


def partial_path(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def default_name(cluster: str) -> str:
    """``<cluster>-<UTC time>``."""
    return f"{safe_path(cluster).replace('/', '_')}-{strftime('%Y%m%dT%H%M%SZ', gmtime(clock.now()))}"


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    about = path.stat()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = about.st_size, int(about.st_mtime), 0o600
    with path.open("rb") as file:
        archive.addfile(entry, file)


def _verify(path: Path, sizes: Sequence[int]) -> None:
    """Raise ``UsageError`` unless the archive holds files of these sizes, in this order."""
    try:
        with tarfile.open(path, "r|gz") as archive:
            found = [entry.size for entry in archive]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UsageError(f"the archive was not written whole: {error}") from None
    if found != list(sizes):
        raise UsageError(f"the archive was not written whole: {len(found)} of {len(sizes)} files are in it")


def _opened(path: Path) -> int:
    with suppress(FileNotFoundError):
        path.unlink()
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(_opened(path), "wb") as file:
        file.write(content)
