"""A bundle: all that a cluster without a network needs, in one tar or folder, with the checksum of every file.

::

    qnext-bundle/
      bundle.json        what is in it, for which hardware and platform, size and SHA-256 of every file
      SHA256SUMS         the same for ``sha256sum -c``, by hand and without this tool
      images/            archives that ``docker load`` takes
      wheels/            the packages of method source
      weights/           the files of the model
      inventory/ playbooks/ templates/ tool/

The tar is plain: not compressed, since images and weights hardly shrink, so a file inside is a part of it that can be
sent to a node without unpacking anything. Its index stands last: a tar that was cut off has none, and is no bundle.

A bundle comes from elsewhere. Nothing of it is used before every checksum was found right, and no name in it leads out
of its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from provision.errors import ConfigError, UsageError
from provision.facts.reading import Json
from provision.install.manifest import File, Manifest
from provision.inventory.model import Settings
from provision.serve import launch

FORMAT = 1
TOP = "qnext-bundle"
INDEX = "bundle.json"
SUMS = "SHA256SUMS"
IMAGES, WHEELS, WEIGHTS = "images", "wheels", "weights"
LARGEST_INDEX = 64 * 1024 * 1024
"""Bytes of an index that is read: far above that of a hundred thousand files."""

_PIECE = 4 * 1024 * 1024
Tell = Callable[[int, int], None]
"""Hears of progress: bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class BundledImage:
    """An image in a bundle. ``path`` of its archive. ``ref`` is the name by which nodes know it, ``written`` what the
    inventory said. ``digest`` is that of the manifest in the registry, empty where none was told; ``ids`` are those
    that the image may have once it is loaded: of its configuration, or of its manifest, by Docker's kind of store.
    ``unpacked``: bytes it takes then, where known."""

    path: str
    ref: str
    written: str
    ids: tuple[str, ...]
    digest: str = ""
    platform: str = ""
    unpacked: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What ``bundle.json`` says. ``source`` is the key of the wheels, ``model`` the path that the weights are for;
    both empty where there are none."""

    made: str
    by: str
    cluster: str
    hardware: str
    platform: str
    images: tuple[BundledImage, ...] = ()
    source: str = ""
    model: str = ""
    files: tuple[File, ...] = ()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def below(self, folder: str) -> tuple[File, ...]:
        """The files of a folder, by their paths in it."""
        inner = f"{folder}/"
        found = (file for file in self.files if file.path.startswith(inner))
        return tuple(replace(file, path=file.path.removeprefix(inner)) for file in found)

    def file(self, path: str) -> File:
        """Raises ``KeyError``."""
        return next((file for file in self.files if file.path == path), None) or _missing(path)

    def text(self) -> str:
        """As JSON, one line a file."""
        head = {
            "format": FORMAT,
            "made": self.made,
            "by": self.by,
            "cluster": self.cluster,
            "hardware": self.hardware,
            "platform": self.platform,
            "images": [_image_data(image) for image in self.images],
            "source": self.source,
            "model": self.model,
        }
        rows = [json.dumps([file.path, file.size, file.sha256], ensure_ascii=False) for file in self.files]
        return json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "files": [\n' + ",\n".join(rows) + "\n]}\n"

    @classmethod
    def load(cls, text: str) -> Contents:
        """From its JSON. Raises ``ConfigError`` for anything else."""
        said = Json.load(text)
        if said.at("format").number != FORMAT:
            newer = (said.at("format").number or 0) > FORMAT
            hint = "load it with the version that made it" if newer else "it was damaged on its way: copy it again"
            raise ConfigError(f"{INDEX} is not of format {FORMAT}", hint=hint)
        rows = [row.items for row in said.at("files").items]
        files = Manifest.of(File(r[0].text, r[1].number or 0, r[2].text) for r in rows if len(r) == 3).files
        names = ("made", "by", "cluster", "hardware", "platform", "source", "model")
        words = {name: said.at(name).text for name in names}
        return cls(**words, images=tuple(map(_image, said.at("images").items)), files=files)


def _missing(path: str) -> File:
    raise KeyError(path)


def _image_data(image: BundledImage) -> dict[str, object]:
    return {
        "path": image.path,
        "ref": image.ref,
        "written": image.written,
        "ids": list(image.ids),
        "digest": image.digest,
        "platform": image.platform,
        "unpacked": image.unpacked,
    }


def _image(said: Json) -> BundledImage:
    words = {name: said.at(name).text for name in ("path", "ref", "written", "digest", "platform")}
    return BundledImage(**words, ids=said.at("ids").texts, unpacked=said.at("unpacked").number)


def sums_text(contents: Contents) -> str:
    """``SHA256SUMS``, of everything but itself."""
    index = hashlib.sha256(contents.text().encode()).hexdigest()
    rows = [(file.sha256, file.path) for file in contents.files] + [(index, INDEX)]
    return "".join(f"{digest}  {path}\n" for digest, path in rows)


# ---- reading one


@dataclass(frozen=True, slots=True)
class Slice:
    """A file of a bundle: ``length`` bytes of the file ``path`` of this machine, from ``start`` on."""

    path: Path
    start: int
    length: int

    def pieces(self) -> Iterator[bytes]:
        """Its content, piece by piece."""
        left = self.length
        with self.path.open("rb") as file:
            file.seek(self.start)
            while left and (piece := file.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class Bundle:
    """An open bundle: what its index says, and where each file is. ``index`` is the index as it stands there."""

    path: Path
    contents: Contents
    slices: Mapping[str, Slice]
    index: bytes = b""

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Find its files and read its index; nothing is verified yet. Raises ``ConfigError``, ``UsageError``."""
        try:
            slices = _of_folder(path) if path.is_dir() else _of_tar(path)
            index = _small(slices.get(INDEX), path)
        except OSError as error:
            message = f"{path} can't be read: {error.strerror or error}"
            raise UsageError(message, hint="name a tar or a folder that bundle create wrote") from error
        return cls(path, Contents.load(index.decode("utf-8", "replace")), slices, index)

    def verify(self, tell: Tell = lambda done, total: None) -> list[str]:
        """All that is wrong with it, file by file; every byte is read."""
        contents, problems, done = self.contents, list[str](), 0
        for file in contents.files:
            problems += _wrong(file, self.slices.get(file.path), partial(_told, tell, done, contents.size))
            done += file.size
        listed = {file.path for file in contents.files} | {INDEX, SUMS}
        bare = (image for image in contents.images if not (image.path in listed and image.ref and any(image.ids)))
        problems += [f"{INDEX}: an image without archive, name or id: {image.path or image.ref}" for image in bare]
        problems += [f"{name}: not listed in {INDEX}" for name in sorted(self.slices.keys() - listed)]
        return problems + self._own_sums()

    def _own_sums(self) -> list[str]:
        """Whether index and ``SHA256SUMS`` say the same: a flipped byte in one of them is found by the other."""
        if SUMS not in self.slices:
            return [f"{SUMS}: missing"]
        said = _small(self.slices[SUMS], self.path).decode("utf-8", "replace").splitlines()
        index = f"{hashlib.sha256(self.index).hexdigest()}  {INDEX}"
        if index not in said:
            return [f"{INDEX}: not what {SUMS} says"]
        wanted = {f"{file.sha256}  {file.path}" for file in self.contents.files} | {index}
        return [] if wanted == set(said) else [f"{SUMS}: not what {INDEX} says"]


def _told(tell: Tell, before: int, total: int, done: int) -> None:
    tell(before + done, total)


def _wrong(file: File, found: Slice | None, tell: Callable[[int], None]) -> list[str]:
    if found is None:
        return [f"{file.path}: missing"]
    if found.length != file.size:
        return [f"{file.path}: {found.length} bytes, not {file.size}"]
    digest, done = hashlib.sha256(), 0
    try:
        for piece in found.pieces():
            digest.update(piece)
            done += len(piece)
            tell(done)
    except OSError as error:
        return [f"{file.path}: can't be read: {error.strerror or error}"]
    right = digest.hexdigest() == file.sha256
    return [] if right else [f"{file.path}: SHA-256 is {digest.hexdigest()}, not {file.sha256 or 'told'}"]


def _small(found: Slice | None, path: Path) -> bytes:
    if found is None:
        hint = "it was cut off, or is something else: copy it again, and compare sizes"
        raise ConfigError(f"{path} has no {INDEX}: it is no whole bundle", hint=hint)
    if found.length > LARGEST_INDEX:
        raise ConfigError(f"{path}: its index has {found.length} bytes", hint="it is no bundle")
    return b"".join(found.pieces())


def _of_folder(path: Path) -> dict[str, Slice]:
    found = {}
    for top, folders, names in os.walk(path):
        folders.sort()
        for name in names:
            file = Path(top) / name
            inner = file.relative_to(path).as_posix()
            if file.is_symlink() or not file.is_file():
                raise ConfigError(f"{path}: {inner} is no plain file", hint=_REFUSED)
            found[inner] = Slice(file, 0, file.stat().st_size)
    return found


def _of_tar(path: Path) -> dict[str, Slice]:
    found: dict[str, Slice] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                inner = _inner(member, path)
                if inner in found:
                    raise ConfigError(f"{path}: {inner} comes twice", hint=_REFUSED)
                if inner:
                    found[inner] = Slice(path, member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ConfigError(f"{path} is no plain tar: {error}", hint=_no_tar(path)) from error
    whole = path.stat().st_size
    return {name: part for name, part in found.items() if part.start + part.length <= whole}


_REFUSED = "bundle create writes nothing of the kind: do not use it"


def _inner(member: tarfile.TarInfo, path: Path) -> str:
    """A member's path below the top folder; empty for a folder. Nothing but files and folders is in a bundle."""
    parts = member.name.rstrip("/").split("/")
    if parts[0] != TOP or any(part in ("", ".", "..") for part in parts) or not member.name.isprintable():
        raise ConfigError(f"{path}: {member.name!r} leads out of the bundle", hint=_REFUSED)
    if member.isdir():
        return ""
    if not member.isreg() or member.issparse() or member.size < 0:
        raise ConfigError(f"{path}: {member.name} is no plain file", hint=_REFUSED)
    return "/".join(parts[1:])


def _no_tar(path: Path) -> str:
    with path.open("rb") as file:
        magic = file.read(4)
    compressed = magic[:2] == b"\x1f\x8b" or magic == b"\x28\xb5\x2f\xfd"
    if compressed:
        return "somebody has compressed it: gunzip or unzstd it first"
    return "it was cut off on its way, or is something else: copy it again, and compare sizes"


# ---- does it fit a cluster


def differences(contents: Contents, settings: Settings) -> list[str]:
    """What makes a bundle one for another cluster: hardware, image, packages, model."""
    found = []
    if contents.hardware != settings.hardware:
        found.append(f"it is for {contents.hardware}, the inventory has {settings.hardware}")
    servers = next((image for image in contents.images if image.path == f"{IMAGES}/servers.tar"), None)
    if settings.install.method == "image" and servers:
        found += _other_image(servers, settings)
    router = next((image for image in contents.images if image.path == f"{IMAGES}/router.tar"), None)
    own = launch.router_image(settings)
    if router and own and router.written != own:
        found.append(f"its router's image is {router.written}, the inventory has {own}")
    if settings.install.method == "source" and contents.source not in ("", settings.install.source.key):
        found.append(
            f"its packages were built by other settings of install.source (key {contents.source}, the inventory's is "
            f"{settings.install.source.key})"
        )
    if contents.model and contents.model != settings.model.path:
        found.append(f"its weights are of {contents.model}, the inventory has model.path {settings.model.path}")
    return found


def _other_image(image: BundledImage, settings: Settings) -> list[str]:
    """A pinned image is told by its digest, whatever its name; one that is not, by its name."""
    pinned = settings.install.pinned
    if pinned:
        same = pinned == image.digest
        return [] if same else [f"its image has digest {image.digest or 'none'}, the inventory pins {pinned}"]
    named = image.written.partition("@")[0]
    same = named == settings.install.image
    return [] if same else [f"its image is {named}, the inventory has {settings.install.image}"]
