"""Left-over shared memory, told from what others keep there."""

from __future__ import annotations

import mmap
import os
import secrets
from pathlib import Path
from typing import Any

import pytest

from provision.facts.shm import SharedFile, SharedMemory
from provision.results import Result

ANSWER = """\
@@ count
6
@@ files
1048576 1795400000 root psm_8f2d11a7
32 1795400001 root sem.mp-x7k2q9vd
64 1795400002 me sem.other name
0 1795400003 root PostgreSQL.2893012
4096 1795400004 root torch_4242_1_0
no such line
4096 1795400005 UNKNOWN hccl_shm_0
"""


def test_kinds_and_owners() -> None:
    value = SharedMemory().parse(Result("shared-memory", 0, ANSWER))
    assert {file.name: file.kind for file in value.files} == {
        "psm_8f2d11a7": "python",
        "sem.mp-x7k2q9vd": "python",
        "sem.other name": "semaphore",
        "PostgreSQL.2893012": "",
        "torch_4242_1_0": "torch",
        "hccl_shm_0": "collective",
    }
    assert value.count == 6
    assert "PostgreSQL.2893012" not in {file.name for file in value.servers}
    assert value.files[2] == SharedFile("psm_8f2d11a7", "python", 1048576, "root", 1795400000)


def test_mapped_files() -> None:
    text = f"{ANSWER}@@ maps\n/dev/shm/psm_8f2d11a7\n/dev/shm/torch_4242_1_0 (deleted)\n"
    files = SharedMemory(mapped=True).parse(Result("shared-memory", 0, text)).files
    assert {file.name for file in files if file.mapped} == {"psm_8f2d11a7", "torch_4242_1_0"}
    assert all(file.mapped is not None for file in files)


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="/dev/shm cannot be written")
def test_this_machine(look: Any) -> None:
    path = Path(f"/dev/shm/psm_{secrets.token_hex(4)}")
    path.write_bytes(bytes(8192))
    try:
        found = {file.name: file for file in look(SharedMemory(mapped=True)).files}[path.name]
        assert (found.kind, found.size, found.mapped) == ("python", 8192, False)
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
            found = {file.name: file for file in look(SharedMemory(mapped=True)).files}[path.name]
        assert found.mapped is True
    finally:
        path.unlink()


def test_none() -> None:
    value = SharedMemory().parse(Result("shared-memory", 0, "@@ count\n0\n@@ files\n"))
    assert (value.files, value.count, value.problems) == ((), 0, ())
