"""Weights as verified artefacts: what a node has of what it must have, and the scripts that read and remember.

What a node's files are compared with is a ``Manifest``. A file is verified (its checksum is known and right), unsure
(its size is right, its checksum not known) or wrong (missing, of another size, of another content).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.actions import JobProgress
from provision.amounts import size_text
from provision.errors import ConfigError, UsageError
from provision.facts.weights import CACHE, MANIFEST, PART, STAMP, Verified, VerifiedValue
from provision.install.manifest import File, Manifest, file_sha256
from provision.inventory.model import Settings
from provision.shell import quote

_UNITS = {"k": 1024, "m": 1024**2, "g": 1024**3}


# ---- what a node has


@dataclass(frozen=True, slots=True)
class Judged:
    """Files of a manifest by what a node has of them. ``extra``: files that the manifest doesn't name, left alone."""

    verified: tuple[File, ...] = ()
    unsure: tuple[File, ...] = ()
    wrong: tuple[File, ...] = ()
    reasons: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def good(self) -> frozenset[str]:
        return frozenset(file.path for file in self.verified)

    @property
    def bad(self) -> frozenset[str]:
        return frozenset(file.path for file in self.wrong)


def judged(manifest: Manifest, value: VerifiedValue, *, rehash: bool = False) -> Judged:
    """What a folder has of a manifest. ``rehash``: no checksum that is remembered counts."""
    verified, unsure, wrong, reasons = [], [], [], []
    there = value.held
    for file in manifest.files:
        held = there.get(file.path)
        if held is None or held.size != file.size:
            wrong.append(file)
            reasons.append(f"{file.path} {_differs(file, held.size if held else None)}")
        elif rehash or not held.sha256 or not file.sha256:
            unsure.append(file)
        elif held.sha256 == file.sha256:
            verified.append(file)
        else:
            wrong.append(file)
            reasons.append(f"{file.path} has SHA-256 {held.sha256[:12]}…, not {file.sha256[:12]}…")
    named = {file.path for file in manifest.files}
    extra = tuple(path for path in there if path not in named)
    return Judged(tuple(verified), tuple(unsure), tuple(wrong), tuple(reasons), extra)


def _differs(file: File, size: int | None) -> str:
    return "is missing" if size is None else f"has {size} of {file.size} bytes"


def kept(value: VerifiedValue) -> Manifest | None:
    """The manifest that lies beside the weights; None where there is none, or it can't be read."""
    try:
        return Manifest.load(value.manifest) if value.manifest else None
    except ConfigError:
        return None


def as_manifest(value: VerifiedValue, *, source: str, revision: str = "") -> Manifest:
    """The files of a folder as the truth; checksums as far as they are remembered."""
    return Manifest.of((File(f.path, f.size, f.sha256) for f in value.files), source=source, revision=revision)


# ---- places


def verified_fact(settings: Settings, folder: str = "") -> Verified:
    """The fact about a folder of weights; default: the model's."""
    folder = folder or settings.model.folder
    return Verified(folder, home(settings, folder))


def home(settings: Settings, folder: str) -> str:
    """Where manifest and checksums of a folder are kept that can't be written."""
    key = hashlib.sha256(folder.encode()).hexdigest()[:12]
    return f"{settings.state_dir}/{settings.cluster}/weights/{key}"


def keeps(value: VerifiedValue, settings: Settings, folder: str) -> str:
    """The path of the manifest on a node."""
    return f"{value.path if value.writable or not value.exists else home(settings, folder)}/{MANIFEST}"


def shared(settings: Settings) -> bool:
    """Whether the weights lie in a folder that is one and the same on all nodes."""
    folder = settings.model.folder.rstrip("/") + "/"
    return any(folder.startswith(each.rstrip("/") + "/") for each in settings.shared_folders)


def bandwidth(text: str | None) -> int:
    """Bytes a second of ``200m``; 0: no limit."""
    return int(text[:-1]) * _UNITS[text[-1]] if text else 0


# ---- reading every byte


def list_path(home: str) -> str:
    """The file that tells the scripts below which files. It is apart from them, so that a run which comes later, and
    lacks fewer files, attaches to the job that is under way instead of meeting another one."""
    return f"{home}/files"


def list_text(files: Iterable[File]) -> str:
    """Its content: the largest first."""
    return "".join(f"{file.path}\n" for file in sorted(files, key=lambda file: -file.size))


def hash_script(folder: str, files: Sequence[File], home: str) -> str:
    """Read ``files`` of a folder and remember their checksums; several at a time, and after all others where the
    machine can say so. Prints ``hashed SIZE PATH`` for each. A file that changes while it is read is not remembered
    (where times are of whole seconds, one that has just changed is let settle first); one that can't be read gets a
    checksum that is none, so that it counts as wrong."""
    return _hashing(folder, f"<<'qnext-end' cat\n{list_text(files)}qnext-end", home)


def hash_listed(folder: str, home: str) -> str:
    """The same for the files that ``list_path`` lists."""
    return _hashing(folder, f"cat {quote(list_path(home))}", home)


def _hashing(folder: str, feed: str, home: str) -> str:
    return _HASH.format(folder=quote(folder), home=quote(home), feed=feed, stamp=STAMP, cache=CACHE)


_HASH = """\
umask 022
cd {folder} || exit
c=./{cache}
[ ! -L "$c" ] || rm -f -- "$c"
{{ : >>"$c"; }} 2>/dev/null || {{ c={home}/{cache}; mkdir -p {home} && : >>"$c"; }} || exit
n=$(nproc 2>/dev/null || echo 2); n=$((n / 2)); [ "$n" -ge 1 ] || n=1; [ "$n" -le 16 ] || n=16
low=
nice -n 10 true 2>/dev/null && low='nice -n 10'
ionice -c 2 -n 7 true 2>/dev/null && low="ionice -c 2 -n 7 $low"
list() {{
{feed}
}}
settled() {{
m=${{1#* }}; [ "$(($(date +%s) - ${{m%%.*}}))" -gt 2 ]
}}
one() {{
a=$(stat -L -c '{stamp}' -- "$1") || return
case $a in *".000000000 "*) settled "$a" || {{ sleep 3; a=$(stat -L -c '{stamp}' -- "$1") || return; }} ;; esac
s=$($low sha256sum <"$1") || {{ printf '%064d %s %s\\n' 0 "$a" "$1" >>"$c"; echo "unreadable $1"; return; }}
[ "$a" = "$(stat -L -c '{stamp}' -- "$1")" ] || {{ echo "changed $1"; return; }}
printf '%s %s %s\\n' "${{s%% *}}" "$a" "$1" >>"$c"
echo "hashed ${{a%% *}} $1"
}}
work() {{
i=0
list | while IFS= read -r p; do [ $((i % n)) -ne "$1" ] || one "$p"; i=$((i + 1)); done
}}
k=0
while [ $k -lt $n ]; do work $k & k=$((k + 1)); done
wait
awk '{{ p = $0; sub(/^[^ ]+ [^ ]+ [^ ]+ [^ ]+ /, "", p); last[p] = $0 }} END {{ for (p in last) print last[p] }}' \
  "$c" >"$c.new" && mv -f "$c.new" "$c"
"""


def remember_script(folder: str, files: Sequence[File], home: str) -> str:
    """Remember the checksums of files that were verified on their way, with the size, time and inode they have now."""
    lines = "".join(
        f'a=$(stat -L -c \'{STAMP}\' -- {quote(file.path)}) && echo {file.sha256} "$a" {quote(file.path)} >>"$c"\n'
        for file in files
        if file.sha256
    )
    place = quote(home)
    return (
        f'cd {quote(folder)} || exit\nc=./{CACHE}\n[ ! -L "$c" ] || rm -f -- "$c"\n'
        f'{{ : >>"$c"; }} 2>/dev/null || {{ c={place}/{CACHE}; mkdir -p {place} && : >>"$c"; }} || exit\n{lines}:\n'
    )


def copy_script(source: str, target: str, home: str) -> str:
    """Copy the listed files from one folder of a node to another; each has its name only when it is whole."""
    return _COPY.format(source=quote(source), target=quote(target), list=quote(list_path(home)), part=PART)


_COPY = """\
umask 022
cd {source} || exit
t={target}
cat {list} | while IFS= read -r p; do
d=$t; case $p in */*) d=$t/${{p%/*}} ;; esac
mkdir -p -- "$d" && rm -f -- "$t/$p{part}" && cp -- "$p" "$t/$p{part}" &&
sync "$t/$p{part}" && mv -f -- "$t/$p{part}" "$t/$p" || exit
done || exit
"""


@dataclass(frozen=True, slots=True)
class Hashing:
    """Turns the log of ``hash_script`` into progress. ``total``: bytes of all files."""

    total: int

    def __call__(self, log: str) -> JobProgress:
        done = [int(size) for size in re.findall(r"^hashed ([0-9]+) ", log, re.MULTILINE)]
        share = sum(done) / self.total if self.total else 1.0
        return JobProgress(
            min(1.0, share), f"{len(done)} files, {size_text(sum(done))} of {size_text(self.total)} read"
        )


def counted(files: Iterable[File]) -> str:
    """``41 files, 163.1 GB``."""
    found = list(files)
    return f"{len(found)} file{'s' * (len(found) != 1)}, {size_text(sum(file.size for file in found))}"


# ---- a folder of the controller


_HERE = "correct it: it is a path on this machine"


def local_manifest(folder: Path) -> Manifest:
    """The files of a folder here; checksums as far as they are remembered beside them. Raises ``UsageError``."""
    if not folder.is_dir():
        raise UsageError(f"model.source.path {folder} is no folder here", hint=_HERE)
    known = _remembered(folder)
    found = []
    for top, folders, names in os.walk(folder, followlinks=True):
        inside = Path(top).resolve()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not inside.is_relative_to((Path(top) / name).resolve())
        )
        for name in names:
            path = Path(top) / name
            if not name.startswith(".") and not name.endswith(PART) and path.is_file():
                inner = path.relative_to(folder).as_posix()
                found.append(File(inner, path.stat().st_size, known.get(f"{_stamp(path)} {inner}", "")))
    if not found:
        raise UsageError(f"model.source.path {folder} is empty", hint=_HERE)
    return Manifest.of(found, source=f"controller:{folder}")


def hash_local(folder: Path, manifest: Manifest) -> Manifest:
    """With the checksums that are not known yet: those files are read, and remembered. Raises ``UsageError``."""
    sums, lines = {}, []
    for file in manifest.files:
        if not file.sha256:
            path = folder / file.path
            try:
                stamp, sums[file.path] = _stamp(path), file_sha256(path)
            except OSError as error:
                raise UsageError(f"{path} can't be read: {error.strerror or error}") from error
            lines.append(f"{sums[file.path]} {stamp} {file.path}\n")
    for place in _caches(folder):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("a", encoding="utf-8") as cache:
                cache.writelines(lines)
            break
        except OSError:
            continue
    return manifest.with_sums(sums)


def _remembered(folder: Path) -> dict[str, str]:
    """Checksums by ``size time inode path``."""
    found = {}
    for place in _caches(folder):
        try:
            lines = place.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        found.update({rest: sum for sum, _, rest in (line.partition(" ") for line in lines)})
    return found


def _caches(folder: Path) -> tuple[Path, Path]:
    """Beside the files, or below the user's caches where that can't be written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return folder / CACHE, Path(base) / "qnext-provision" / f"verified-{key}"


def _stamp(path: Path) -> str:
    """As ``stat -c STAMP`` prints it."""
    about = path.stat()
    seconds, rest = divmod(about.st_mtime_ns, 10**9)
    return f"{about.st_size} {seconds}.{rest:09d} {about.st_ino}"
