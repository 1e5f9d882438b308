"""Making a bundle: its parts are gathered in a folder beside it, and packed when all are there.

What is gathered stays until the bundle is whole, so a run that was cut short goes on. The bundle gets its name last: a
half one never has it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from provision import yamlio
from provision.errors import ConfigError, UsageError
from provision.facts.reading import Json
from provision.install.bundle import INDEX, SUMS, TOP, Contents, Tell, sums_text
from provision.install.manifest import File
from provision.shell import quote

_PIECE = 4 * 1024 * 1024

# ---- writing it


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the files of a bundle are, by their paths in it."""

    files: Mapping[str, Path]

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in self.files.values())


def parts(staged: Path, weights: Mapping[str, Path]) -> Parts:
    """What was gathered below ``staged``, and the weights where they lie. Names with ``.part`` are not there yet."""
    found = {path.relative_to(staged).as_posix(): path for path in sorted(staged.rglob("*")) if path.is_file()}
    there = {name: path for name, path in found.items() if not name.endswith((".part", ".tar.id")) and "/" in name}
    return Parts(there | dict(weights))


def write_tar(out: Path, contents: Contents, given: Parts, tell: Tell = lambda done, total: None) -> Contents:
    """Pack into a tar, each file read once: its checksum is taken on the way. Raises ``UsageError``."""
    part = out.with_name(f"{out.name}.part")
    total, done, files = given.size, 0, list[File]()
    try:
        with tarfile.open(part, "w:", format=tarfile.GNU_FORMAT) as archive:
            for name, path in sorted(given.files.items()):
                with path.open("rb") as file:
                    reading = _Reading(file, done, total, tell)
                    size = path.stat().st_size
                    archive.addfile(_member(name, size), reading)
                files.append(File(name, size, reading.digest.hexdigest()))
                done += size
            whole = replace(contents, files=tuple(sorted(files)))
            for name, text in ((INDEX, whole.text()), (SUMS, sums_text(whole))):
                archive.addfile(_member(name, len(text.encode())), BytesIO(text.encode()))
        _settle(part)
    except OSError as error:
        raise _unwritten(out, error, total) from error
    part.replace(out)
    return whole


def write_folder(out: Path, contents: Contents, given: Parts, tell: Tell = lambda done, total: None) -> Contents:
    """The same as a folder: what was gathered is moved into it, weights are linked where that can be, else copied."""
    part = out.with_name(f"{out.name}.part")
    total, done, files = given.size, 0, list[File]()
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name, path in sorted(given.files.items()):
            to = part / name
            to.parent.mkdir(parents=True, exist_ok=True)
            _link(path, to)
            with to.open("rb") as file:
                reading = _Reading(file, done, total, tell)
                while reading.read(_PIECE):
                    pass
            files.append(File(name, to.stat().st_size, reading.digest.hexdigest()))
            done += to.stat().st_size
        whole = replace(contents, files=tuple(sorted(files)))
        part.mkdir(parents=True, exist_ok=True)
        (part / INDEX).write_text(whole.text(), encoding="utf-8")
        (part / SUMS).write_text(sums_text(whole), encoding="utf-8")
    except OSError as error:
        raise _unwritten(out, error, total) from error
    part.replace(out)
    return whole


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path.resolve(), to)
    except OSError:
        shutil.copyfile(path, to)


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{TOP}/{name}")
    info.size, info.mode = size, 0o644
    return info


def _settle(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _unwritten(out: Path, error: OSError, total: int) -> UsageError:
    hint = f"it needs {total / 1e9:.1f} GB there; run again: what was gathered is kept"
    return UsageError(f"{error.filename or out} can't be written: {error.strerror or error}", hint=hint)


class _Reading(BytesIO):
    """A file that is hashed while it is read, and says how far that is."""

    def __init__(self, file: BinaryIO, before: int, total: int, tell: Tell) -> None:
        super().__init__()
        self._file = file
        self._done, self._total, self._tell = before, total, tell
        self.digest = hashlib.sha256()

    def read(self, size: int | None = -1) -> bytes:
        piece = self._file.read(_PIECE if size is None or size < 0 else size)
        self.digest.update(piece)
        self._done += len(piece)
        self._tell(self._done, self._total)
        return piece


# ---- images


SAVED = re.compile(r"^saved ([0-9]+)$", re.MULTILINE)
_TOLD = re.compile(r"^== (id|platform|unpacked|digests|size|sha256|source) (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Saved:
    """What saving an image told: of the archive ``size`` and ``sha256``; of the image the rest. ``digest``: what it has
    in the registry that it came from."""

    id: str
    platform: str
    unpacked: int | None
    digest: str
    size: int
    sha256: str


def saving_script(folder: str, name: str, ref: str, sources: Sequence[str], platform: str) -> str:
    """Have ``ref`` as ``folder/name``, for ``platform`` (``linux/arm64``): pulled from the first of ``sources`` that
    answers where it is not there for that platform, then saved. What was saved before, of the same image, is kept."""
    return _SAVE.format(
        folder=quote(folder),
        name=quote(name),
        ref=quote(ref),
        sources=" ".join(map(quote, sources)),
        platform=quote(platform),
    )


_SAVE = """\
mkdir -p -- {folder} && cd {folder} || exit
p=$(docker image inspect --format '{{{{.Os}}}}/{{{{.Architecture}}}}' {ref} 2>/dev/null)
i={ref} o=
# A pull for another machine takes the name from the image that this one may serve with: it gets it back.
trap '[ -z "$o" ] || docker tag "$o" "$s"' EXIT
if [ "$p" != {platform} ]; then
  i=
  for s in {sources}; do
    echo "pulling $s"
    o=
    case $s in *@*) ;; *) o=$(docker image inspect --format '{{{{.Id}}}}' "$s" 2>/dev/null) ;; esac
    if docker pull --platform {platform} "$s"; then i=$s; break; fi
  done
  [ -n "$i" ] || exit 1
fi
d=$(docker image inspect --format '{{{{.Id}}}}' "$i") || exit
case $d in sha256:*) ;; *) d=sha256:$d ;; esac
p=$(docker image inspect --format '{{{{.Os}}}}/{{{{.Architecture}}}}' "$i")
[ "$p" = {platform} ] || {{ echo "$i is an image for $p, not for "{platform}; exit 1; }}
if [ ! -f {name} ] || [ "$(cat {name}.id 2>/dev/null)" != "$d" ]; then
  rm -f {name} {name}.id
  docker save "$i" >{name}.part & c=$!
  t=0.05
  while kill -0 $c 2>/dev/null; do sleep $t; t=1; echo "saved $(stat -c %s {name}.part 2>/dev/null || echo 0)"; done
  wait $c || exit
  mv {name}.part {name} && echo "$d" >{name}.id || exit
fi
h=$(sha256sum <{name}) || exit
echo "== source $i"
echo "== id $d"
echo "== platform $p"
echo "== unpacked $(docker image inspect --format '{{{{.Size}}}}' "$i")"
echo "== digests $(docker image inspect --format '{{{{json .RepoDigests}}}}' "$i")"
echo "== size $(stat -c %s {name})"
echo "== sha256 ${{h%% *}}"
"""


def copying_script(folder: str, name: str, sources: Sequence[str], platform: str) -> str:
    """The same by skopeo, which needs no daemon and no root: it copies from registry to archive. The digest that the
    first source gives is asked first, and then copied by."""
    system, _, arch = platform.partition("/")
    where = {"folder": quote(folder), "name": quote(name), "os": quote(system), "arch": quote(arch)}
    return _COPY.format(sources=" ".join(map(quote, sources)), **where)


_COPY = """\
mkdir -p -- {folder} && cd {folder} || exit
for s in {sources}; do
  echo "asking $s"
  skopeo inspect --raw "docker://$s" >{name}.raw.part || continue
  d=$(sha256sum <{name}.raw.part) && d=sha256:${{d%% *}} || exit
  case $s in *@*) r=${{s%@*}} ;; *) r=${{s%:*}} ;; esac
  [ -f {name} ] && [ "$(cat {name}.id 2>/dev/null)" = "$d" ] && break
  rm -f {name} {name}.id {name}.part
  echo "copying $r@$d"
  skopeo copy --override-os {os} --override-arch {arch} "docker://$r@$d" "docker-archive:"{name}.part || continue
  mv {name}.part {name} && echo "$d" >{name}.id && break
done
rm -f {name}.raw.part
[ -f {name} ] || exit 1
s=$(sha256sum <{name}) || exit
echo "== id -"
echo "== platform "{os}/{arch}
echo "== unpacked $(stat -c %s {name})"
printf '== digests ["%s"]\\n' "$r@$d"
echo "== size $(stat -c %s {name})"
echo "== sha256 ${{s%% *}}"
"""


def saved(log: str, repositories: Sequence[str]) -> Saved:
    """What the script printed. Raises ``ConfigError`` where that is not all."""
    told = {match[1]: match[2].strip() for match in _TOLD.finditer(log)}
    try:
        unpacked = int(told["unpacked"]) if told["unpacked"].isdigit() else None
        digest = digest_in(Json.load(told["digests"]).texts, repositories)
        return Saved(told["id"], told["platform"], unpacked, digest, int(told["size"]), told["sha256"])
    except (KeyError, ValueError) as error:
        raise ConfigError(f"docker save did not say all of an image: {error}") from None


def digest_in(digests: Sequence[str], repositories: Sequence[str]) -> str:
    """The digest that an image has in one of ``repositories``, the first that knows one; empty where none does."""
    by_repository = dict(digest.partition("@")[::2] for digest in digests)
    return next((by_repository[name] for name in repositories if name in by_repository), "")


def archive_ids(path: Path) -> tuple[tuple[str, ...], str]:
    """Ids that an image may have once this archive is loaded (its configuration's digest, its manifest's), and its
    platform, by what the archive itself says; nothing where it is of a form that is not known."""
    try:
        with tarfile.open(path, "r:") as archive:
            config = _member_json(archive, "manifest.json").items[0].at("Config").text
            inside = _member_json(archive, config)
            index = _member_json(archive, "index.json") if "index.json" in archive.getnames() else Json(None)
    except (OSError, KeyError, IndexError, tarfile.TarError):
        return (), ""
    stem = config.rpartition("/")[2].removesuffix(".json")
    ids = (f"sha256:{stem}", *(entry.at("digest").text for entry in index.at("manifests").items))
    platform = f"{inside.at('os').text or 'linux'}/{inside.at('architecture').text}"
    return tuple(dict.fromkeys(filter(None, ids))), platform


def _member_json(archive: tarfile.TarFile, name: str) -> Json:
    file = archive.extractfile(name)
    return Json.load(file.read().decode("utf-8", "replace")) if file else Json(None)


# ---- the inventory


_SECRET = re.compile(r"(pass(word|wd|phrase)?|secret|token|(api|access|private)[_-]?key)$", re.IGNORECASE)
_CREDENTIALS = re.compile(r"\w+://[^/\s:@]*:[^/\s@]+@|https?://[^/\s@]+@")
"""In a URL: user and password, or a token alone, which is no address of anything as the user of an ssh URL is."""
_PROXY = re.compile(r"proxy$", re.IGNORECASE)
_LOGIN = re.compile(r"[^\s/@:]+:[^\s/@]+@[^\s/@]+")


def inventory_files(inventory: Path) -> dict[str, Path]:
    """The inventory and the variables beside it, by their paths from its folder."""
    folder = inventory.parent
    beside = (path for name in ("group_vars", "host_vars") for path in sorted((folder / name).rglob("*")))
    found = [inventory, *(path for path in beside if path.is_file() and not path.name.startswith("."))]
    return {path.relative_to(folder).as_posix(): path for path in found}


def open_secrets(path: Path) -> list[str]:
    """Places (``file:line:column what``) of secrets that stand in a file of the inventory as they are. A reference
    (``{env: NAME}``), or a template, is none."""
    root = yamlio.parse(yamlio.read_text(path), str(path))
    return [f"{node.position} {name}" for name, node in _secrets(root, "", hidden=False)]


def _secrets(node: yamlio.Node, name: str, *, hidden: bool) -> Iterator[tuple[str, yamlio.Node]]:
    if isinstance(node.data, dict):
        if hidden and len(node.data) == 1 and next(iter(node.data)) in ("env", "file", "command"):
            return
        for key, child in node.children.items():
            yield from _secrets(child, str(key), hidden=name == "secret_env" or bool(_SECRET.search(str(key))))
    elif isinstance(node.data, list):
        for child in node.children.values():
            yield from _secrets(child, name, hidden=hidden)
    elif _is_value(node.data) and (hidden or _holds_login(name, str(node.data))):
        yield name, node


def _holds_login(name: str, text: str) -> bool:
    """Whether a value has a user or password in it; a proxy's may do without ``http://``."""
    return bool(_CREDENTIALS.search(text)) or bool(_PROXY.search(name) and _LOGIN.match(text))


def _is_value(data: object) -> bool:
    """Whether it stands there as it is: a number may be a password, a template is none."""
    return isinstance(data, str | int | float) and not isinstance(data, bool) and data != "" and "{{" not in str(data)
