"""Room under folders that need not exist yet: each is measured at its nearest existing ancestor."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, integer, sections
from provision.results import Result
from provision.shell import quote


@dataclass(frozen=True, slots=True)
class Folder:
    """Room for ``path``. ``measured`` is the existing ancestor that was looked at; sizes in bytes, inodes in numbers.

    ``free_inodes`` is None on filesystems without a limit. ``read_only`` is how it's mounted.
    """

    path: str
    exists: bool = False
    measured: str = ""
    filesystem: str = ""
    mount: str = ""
    size: int | None = None
    free: int | None = None
    inodes: int | None = None
    free_inodes: int | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class DiskValue:
    """``folders`` in the order of the fact's ``paths``."""

    folders: tuple[Folder, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, path: str) -> Folder | None:
        """The measurement for ``path``, as it was asked for."""
        return next((folder for folder in self.folders if folder.path == path), None)


@dataclass(frozen=True, slots=True)
class Disk(Fact[DiskValue]):
    """Free space and inodes where ``paths`` are or would be."""

    name: ClassVar[str] = "disk"
    paths: tuple[str, ...] = ("/",)

    def script(self) -> str:
        return _LOOK + "".join(f"look {quote(path)}\n" for path in self.paths)

    def parse(self, raw: Result) -> DiskValue:
        found = {" ".join(s.words): _folder(s) for s in sections(raw.stdout)}
        folders = tuple(found.get(f"{i}", Folder("")) for i in range(1, len(self.paths) + 1))
        named = tuple(replace(folder, path=path) for folder, path in zip(folders, self.paths, strict=True))
        unread = tuple(f"{folder.path}: no answer from df" for folder in named if folder.free is None)
        return DiskValue(named, complaints(raw) + unread)


# A stale network mount makes df hang, so each df has its own deadline; not every df knows -i.
_LOOK = """\
n=0
look() {
  n=$((n + 1)); p=$1; e=no
  [ -e "$p" ] && e=yes
  while [ ! -e "$p" ]; do
    case $p in */*) p=${p%/*} ;; *) p=. ;; esac
    [ -n "$p" ] || p=/
  done
  echo "@@ $n"; echo "exists $e"; echo "measured $p"
  d=$(timeout 4 df -P -k "$p" | tail -n 1); echo "$d"
  echo inodes
  timeout 4 df -P -i "$p" 2>/dev/null | tail -n 1
  awk -v m="${d##*% }" '$2 == m { o = $4 } END { if (o ~ /^ro(,|$)/) print "read-only" }' /proc/mounts
}
"""


def _folder(part: Section) -> Folder:
    """One folder's lines: exists, measured, a line of df, ``inodes``, a line of df -i, perhaps ``read-only``."""
    above, _, below = part.body.partition("\ninodes\n")
    head = [*above.splitlines(), "", "", ""]
    room = _df(head[2])
    nodes = _df(below.splitlines()[0] if below.splitlines() else "")
    return Folder(
        path="",
        exists=head[0] == "exists yes",
        measured=head[1].removeprefix("measured "),
        filesystem=room.filesystem,
        mount=room.mount,
        size=None if room.total is None else room.total * 1024,
        free=None if room.free is None else room.free * 1024,
        inodes=nodes.total or None,
        free_inodes=nodes.free if nodes.total else None,
        read_only="read-only" in below.splitlines(),
    )


@dataclass(frozen=True, slots=True)
class _Df:
    filesystem: str = ""
    total: int | None = None
    free: int | None = None
    mount: str = ""


def _df(line: str) -> _Df:
    """``filesystem total used free percent mount``; both names may hold spaces."""
    match = re.match(r"(.*?)\s+([0-9]{1,18})\s+[0-9]{1,18}\s+(-?[0-9]{1,18})\s+(?:[0-9]+%|-)\s+(/.*)$", line)
    return _Df(match[1], integer(match[2]), integer(match[3]), match[4]) if match else _Df()
