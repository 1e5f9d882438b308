"""Room under folders, against statvfs, and what mounts do to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from provision.facts.disk import Disk, Folder
from provision.results import Result


def test_an_existing_and_a_missing_folder(look: Any, tmp_path: Path) -> None:
    here = str(tmp_path)
    there = f"{here}/it's not/there yet"
    value = look(Disk((here, there)))
    room = os.statvfs(here)
    for folder in value.folders:
        assert folder.measured == here
        assert folder.size == room.f_blocks * room.f_frsize
        assert abs(folder.free - room.f_bavail * room.f_frsize) < 2**30
        assert not folder.read_only
        assert folder.type in Path("/proc/mounts").read_text()
        assert not folder.hung
    assert [folder.exists for folder in value.folders] == [True, False]
    assert value.of(there).path == there
    assert value.problems == ()


ANSWER = """\
@@ look 1
exists /mnt/nfs
missing /data
exists /dev/shm
df
Filesystem 1024-blocks Used Available Capacity Mounted on
nas:/my share 1000 400 600 40% /mnt/nfs
/dev/nvme1n1p1 2000 500 1500 25% /data
tmpfs 4000 0 4000 0% /dev/shm
inodes
Filesystem Inodes IUsed IFree IUse% Mounted on
nas:/my share 0 0 0 - /mnt/nfs
/dev/nvme1n1p1 100 40 60 40% /data
tmpfs 9 1 8 12% /dev/shm
@@ mounts
/dev/nvme1n1p1 /data xfs rw,relatime 0 0
tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0
/dev/nvme1n1p1 /data xfs ro,relatime 0 0
nas:/my\\040share /mnt/nfs nfs4 rw,relatime,vers=4.2,hard 0 0
"""
PATHS = ("/mnt/nfs", "/data/weights", "/dev/shm")


def test_types_and_what_has_no_inodes() -> None:
    nfs, data, shm = Disk(PATHS).parse(Result("disk", 0, ANSWER)).folders
    assert (nfs.filesystem, nfs.mount, nfs.type, nfs.network) == ("nas:/my share", "/mnt/nfs", "nfs4", True)
    assert (nfs.size, nfs.free, nfs.free_inodes, nfs.read_only) == (1024000, 614400, None, False)
    assert (data.exists, data.measured, data.inodes, data.free_inodes) == (False, "/data", 100, 60)
    assert (data.type, data.read_only, data.network, data.used) == ("xfs", True, False, 500 * 1024)
    assert (shm.type, shm.network) == ("tmpfs", False)


def test_busybox_without_inodes() -> None:
    text = ANSWER.replace(ANSWER[ANSWER.index("inodes\n") : ANSWER.index("@@ mounts")], "inodes\n")
    assert [folder.free_inodes for folder in Disk(PATHS).parse(Result("disk", 0, text)).folders] == [None] * 3


def test_a_line_of_df_that_is_missing_shifts_nothing() -> None:
    text = ANSWER.replace("/dev/nvme1n1p1 2000 500 1500 25% /data\n", "")
    assert [folder.free for folder in Disk(PATHS).parse(Result("disk", 0, text)).folders] == [None] * 3


@pytest.mark.parametrize(
    ("folder", "network"),
    [
        (Folder("/a", type="lustre"), True),
        (Folder("/a", type="gpfs"), True),
        (Folder("/a", type="fuse.juicefs"), True),
        (Folder("/a", type="fuse.lxcfs"), False),
        (Folder("/a", type="overlay"), False),
        (Folder("/a", filesystem="nas.example:/export"), True),
        (Folder("/a", filesystem="//nas/share"), True),
        (Folder("/a", filesystem="/dev/mapper/vg-root"), False),
    ],
)
def test_network_file_systems(folder: Folder, network: bool) -> None:
    assert folder.network is network


def test_a_stale_mount_hides_no_other_folder(look: Any, tool: Any, tmp_path: Path) -> None:
    """What touches one folder hangs (here its deadline is over at once); then they are looked at one by one."""
    stale, well = tmp_path / "stale", tmp_path / "well"
    stale.mkdir()
    well.mkdir()
    tool("timeout", f'for p; do [ "$p" != {stale} ] || exit 124; done; shift; exec "$@"')
    value = look(Disk((str(stale), str(well))))
    if value.folders[0].free is not None:
        pytest.skip("this shell has a timeout of its own")
    assert value.folders[0] == Folder(str(stale), hung=True)
    assert value.folders[1].free is not None
    assert value.problems == (f"{stale}: no answer from df",)


def test_a_hanging_mount_is_named() -> None:
    value = Disk(("/mnt/nfs", "/data")).parse(Result("disk", 124, "", seconds=10.0, timed_out=True))
    assert value.problems == ("no answer within 10 s", "/mnt/nfs: no answer from df", "/data: no answer from df")
