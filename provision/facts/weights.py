"""Which files of a folder of weights have which checksum, as far as it is known without reading them.

A file that was read once need not be read again: its checksum is remembered beside it, with the size, time and inode it
had, and holds for as long as these are the same. So a folder of 163 GB is looked at in milliseconds. What turns bits
without touching the time (a dying disk) is found by reading anew alone.

The folder may be a model's place in Hugging Face's cache (``models--org--name``): the weights are then those of a
snapshot, as in ``facts/model.py``. Files whose names begin with a dot are no weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, integer, pairs, section, sections
from provision.results import Result
from provision.shell import quote

CACHE = ".qnext-verified"
"""File beside the weights that remembers checksums: ``sha256 size time inode path``, the last line of a path counts."""

MANIFEST = ".qnext-manifest.json"
"""File beside them that says what they must be (``install/manifest.py``)."""

STAMP = "%s %.9Y %i"
"""``stat -L -c``: what is compared instead of the content: size in bytes, time of change in seconds, inode."""

PART = ".part"
"""End of the name of a file that is still on its way."""


@dataclass(frozen=True, slots=True)
class Held:
    """A file as it lies there: ``size`` in bytes; ``sha256`` empty where it isn't known for this size, time, inode."""

    path: str
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class VerifiedValue:
    """``path`` is where the files are: the folder asked for, or the ``snapshot`` in it; ``ref``: what refs/main says.

    ``files`` in order of their paths; ``partial``: bytes by path of files on their way; ``manifest``: the text of the
    one that is kept, empty: none. ``writable``: the folder can be written. ``client``: ModelScope's index is there.
    """

    path: str
    exists: bool = False
    writable: bool = False
    snapshot: str = ""
    ref: str = ""
    client: bool = False
    files: tuple[Held, ...] = ()
    partial: tuple[tuple[str, int], ...] = ()
    manifest: str = ""
    problems: tuple[str, ...] = ()

    @property
    def held(self) -> Mapping[str, Held]:
        """The files by path."""
        return {file.path: file for file in self.files}


@dataclass(frozen=True, slots=True)
class Verified(Fact[VerifiedValue]):
    """What is known of the files in ``folder``. ``home``: another folder of the node, where manifest and checksums are
    kept when ``folder`` can't be written."""

    name: ClassVar[str] = "weights"
    deadline: ClassVar[float] = 60.0
    folder: str = ""
    home: str = ""

    def script(self) -> str:
        return (
            f"cd {quote(self.folder)} 2>/dev/null || {{ echo '@@ absent'; exit 0; }}\n"
            f"h={quote(self.home or self.folder)}\n{_LOOK}"
        )

    def parse(self, raw: Result) -> VerifiedValue:
        text = raw.stdout
        if ("folder",) not in {part.words for part in sections(text)}:
            return VerifiedValue(self.folder, problems=complaints(raw))
        said = pairs(section(text, "folder").splitlines())
        known = _known(section(text, "known").splitlines())
        files, partial = _files(section(text, "files").splitlines(), known)
        snapshot = said.get("snapshot", "")
        return VerifiedValue(
            path=f"{self.folder}/snapshots/{snapshot}" if snapshot else self.folder,
            exists=True,
            writable="writable" in said,
            snapshot=snapshot,
            ref=said.get("ref", ""),
            client="client" in said,
            files=files,
            partial=partial,
            manifest=section(text, "manifest").strip(),
            problems=complaints(raw),
        )


_LOOK = f"""\
echo '@@ folder'
r=$(head -c 200 refs/main 2>/dev/null | tr -d ' \\r\\n')
[ -n "$r" ] && echo "ref=$r"
if [ -d snapshots ] && [ ! -e config.json ]; then
  {{ [ -n "$r" ] && [ -d "snapshots/$r" ]; }} || r=$(ls -1t snapshots | head -n 1)
  [ -n "$r" ] && cd "snapshots/$r" && echo "snapshot=$r"
fi
[ -w . ] && echo writable=
[ -f .msc ] && echo client=
echo '@@ known'
for f in {CACHE} "$h/{CACHE}"; do [ -f "$f" ] && cat "$f"; done
echo '@@ manifest'
for f in {MANIFEST} "$h/{MANIFEST}"; do [ -f "$f" ] && {{ cat "$f"; break; }}; done
echo '@@ files'
walk() {{
  d=$1; shift
  case $d in ./*/*/*/*/*/*/) return ;; esac
  for f in "$d"*; do [ -f "$f" ] && set -- "$@" "$f"; done
  [ $# -gt 0 ] && stat -L -c '{STAMP} %n' -- "$@" 2>/dev/null
  for f in "$d"*/; do [ -d "$f" ] && walk "$f"; done
}}
walk ./
:
"""


def _known(lines: Iterable[str]) -> dict[tuple[str, str], str]:
    """Checksums by path and ``size time inode``; of equal paths the last line counts."""
    found = {}
    for line in lines:
        words = line.split(" ", 4)
        if len(words) == 5 and len(words[0]) == 64:
            found[words[4], " ".join(words[1:4])] = words[0]
    return found


def _files(
    lines: Iterable[str], known: Mapping[tuple[str, str], str]
) -> tuple[tuple[Held, ...], tuple[tuple[str, int], ...]]:
    """The files, and those that are on their way."""
    found, partial = [], []
    for line in lines:
        words = line.split(" ", 3)
        size = integer(words[0]) if len(words) == 4 else None
        if size is None:
            continue
        path = words[3].removeprefix("./")
        if path.endswith(PART):
            partial.append((path.removesuffix(PART), size))
        else:
            found.append(Held(path, size, known.get((path, " ".join(words[:3])), "")))
    return tuple(sorted(found, key=lambda file: file.path)), tuple(sorted(partial))
