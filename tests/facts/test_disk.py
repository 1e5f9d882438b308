"""Room under folders, against statvfs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from provision.facts.disk import Disk
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
    assert [folder.exists for folder in value.folders] == [True, False]
    assert value.of(there).path == there
    assert value.problems == ()


def test_spaces_and_what_has_no_inodes() -> None:
    text = (
        "@@ 1\nexists yes\nmeasured /mnt/nfs\nnas:/my share 1000 400 600 40% /mnt/nfs\n"
        "inodes\nnas:/my share 0 0 0 - /mnt/nfs\nread-only\n"
    )
    folder = Disk(("/mnt/nfs",)).parse(Result("disk", 0, text)).folders[0]
    assert (folder.filesystem, folder.mount) == ("nas:/my share", "/mnt/nfs")
    assert (folder.size, folder.free, folder.free_inodes, folder.read_only) == (1024000, 614400, None, True)


def test_a_hanging_mount_is_named() -> None:
    text = "@@ 1\nexists yes\nmeasured /mnt/nfs\n\ninodes\n"
    value = Disk(("/mnt/nfs", "/data")).parse(Result("disk", 124, text, seconds=10.0, timed_out=True))
    assert value.problems == ("no answer within 10 s", "/mnt/nfs: no answer from df", "/data: no answer from df")
