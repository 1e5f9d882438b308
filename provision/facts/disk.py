"""Room under folders that need not exist yet: each is measured at its nearest existing ancestor.

One ``df`` looks at all folders. Where that hangs (a network mount whose server is gone) or refuses, each folder is
looked at by itself with a deadline of its own, so that a stale mount is named and hides no other folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, integer, sections
from provision.results import Result
from provision.shell import join

NETWORK_TYPES = re.compile(
    r"nfs4?|lustre|gpfs|mmfs|cifs|smb[23]?|smbfs|ceph|glusterfs|beegfs|9p|virtiofs|dpc|afs|ocfs2|gfs2?|wekafs|orangefs"
    r"|pvfs2|fuse\.(?:(?!(?:lxcfs|fuse-overlayfs|portal|gvfsd)).+)"
)
"""Types (as /proc/mounts names them) of file systems whose data come over a network: shared, slow, able to hang. FUSE
mounts count as such: on servers they are ceph, gluster, juicefs, s3fs, sshfs and the like."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Room for ``path``. ``measured`` is the existing ancestor that was looked at; sizes in bytes, inodes in numbers.

    ``free_inodes`` is None on filesystems without a limit. ``read_only`` is how it's mounted. ``type`` as in
    /proc/mounts (ext4, xfs, tmpfs, nfs4, lustre); empty where that can't be told. ``hung``: nothing that touches the
    folder ends; then all else is unknown.
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
    type: str = ""
    hung: bool = False

    @property
    def network(self) -> bool:
        """Whether its data come over a network: by the type, else by a source as ``server:/export``."""
        if self.type:
            return NETWORK_TYPES.fullmatch(self.type) is not None
        return re.match(r"//\S|[^/\s]+:/", self.filesystem) is not None

    @property
    def used(self) -> int | None:
        """Bytes that nobody can write to any more, those reserved for root included."""
        return None if self.size is None or self.free is None else self.size - self.free


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
    deadline: ClassVar[float] = 20.0
    paths: tuple[str, ...] = ("/",)

    def script(self) -> str:
        return f"set -- {join(self.paths)}\n{_LOOK}"

    def parse(self, raw: Result) -> DiskValue:
        parts = sections(raw.stdout)
        mounts = next((_mounts(part) for part in parts if part.words == ("mounts",)), {})
        found = {number: folder for part in parts for number, folder in _folders(part)}
        folders = tuple(
            _mounted(replace(found.get(number, Folder("")), path=path), mounts)
            for number, path in enumerate(self.paths, 1)
        )
        unread = tuple(f"{folder.path}: no answer from df" for folder in folders if folder.free is None)
        return DiskValue(folders, complaints(raw) + unread)


# Everything that may touch a stale mount runs below timeout, tests included. Sections: ``@@ look FIRST`` with a line
# ``exists|missing ANCESTOR`` for each folder from number FIRST on, then lines of df and (after "inodes") of df -i, in
# the same order; ``@@ hung NUMBER``; ``@@ mounts`` with the lines of /proc/mounts for the mounts that df named.
_LOOK = """\
q='
f=$1; shift
echo "@@ look $f"
for p; do
  shift; e=exists
  while [ ! -e "$p" ]; do
    e=missing
    case $p in */*) p=${p%/*} ;; *) p=. ;; esac
    [ -n "$p" ] || p=/
  done
  echo "$e $p"; set -- "$@" "$p"
done
echo df
df -P -k "$@" || exit 9
echo inodes
df -P -i "$@"
exit 0'
o=$(timeout 3 sh -c "$q" df 1 "$@" 2>/dev/null) || {
  o= n=0
  for p; do
    n=$((n + 1))
    a=$(timeout 2 sh -c "$q" df $n "$p" 2>/dev/null); e=$?
    [ $e -ne 124 ] && [ $e -ne 143 ] || a="@@ hung $n"
    o="$o$a
"
  done
}
printf '%s\\n' "$o"
echo '@@ mounts'
set -f
IFS='
'
set --
for l in $o; do
  case $l in *%\\ /* | *-\\ /*) set -- "$@" -e " ${l##*[%-] } " ;; esac
done
[ $# -eq 0 ] || grep -F "$@" /proc/mounts
:
"""


def _folders(part: Section) -> list[tuple[int, Folder]]:
    """What a section tells, by the folders' numbers."""
    first = integer(part.words[1]) if len(part.words) == 2 else None
    if first is None or part.words[0] not in ("look", "hung"):
        return []
    if part.words[0] == "hung":
        return [(first, Folder("", hung=True))]
    above, _, below = part.body.partition("\ndf\n")
    room, _, inodes = below.partition("\ninodes\n")
    heads = above.splitlines()
    sizes, counts = ([_df(line) for line in text.splitlines()[1:]] for text in (room, inodes))
    # a line that is missing would shift all others to a wrong folder
    sizes = sizes if len(sizes) == len(heads) else [_Df()] * len(heads)
    counts = counts if len(counts) == len(heads) else [_Df()] * len(heads)
    return [(first + i, _folder(head, sizes[i], counts[i])) for i, head in enumerate(heads)]


def _folder(head: str, room: _Df, nodes: _Df) -> Folder:
    there, _, measured = head.partition(" ")
    return Folder(
        path="",
        exists=there == "exists",
        measured=measured,
        filesystem=room.filesystem,
        mount=room.mount,
        size=None if room.total is None else room.total * 1024,
        free=None if room.free is None else room.free * 1024,
        inodes=nodes.total or None,
        free_inodes=nodes.free if nodes.total else None,
    )


@dataclass(frozen=True, slots=True)
class _Mount:
    type: str
    read_only: bool


def _mounts(part: Section) -> dict[str, _Mount]:
    """``device mount type options 0 0``; what is mounted last at a place is what one sees."""
    rows = [line.split() for line in part.lines]
    return {row[1]: _Mount(row[2], "ro" in row[3].split(",")) for row in rows if len(row) >= 4}


def _mounted(folder: Folder, mounts: dict[str, _Mount]) -> Folder:
    found = mounts.get(folder.mount)
    return replace(folder, type=found.type, read_only=found.read_only) if found else folder


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
