"""Left-over shared memory, told from what others keep there."""

from __future__ import annotations

import ctypes
import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from provision.facts.shm import SharedFile, SharedMemory
from provision.results import Result

ANSWER = """\
@@ count
6
@@ files
25:2 1048576 1795400000 root psm_8f2d11a7
25:3 32 1795400001 root sem.mp-x7k2q9vd
25:4 64 1795400002 me sem.other name
25:5 0 1795400003 root PostgreSQL.2893012
25:6 4096 1795400004 root torch_4242_1_0
no such line
25:7 4096 1795400005 UNKNOWN hccl_shm_0
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


def test_files_in_use_are_told_by_device_and_inode() -> None:
    text = f"{ANSWER}@@ used\n25:2\n25:6\n26:3\n25:77\n"
    files = SharedMemory(mapped=True).parse(Result("shared-memory", 0, text)).files
    assert {file.name for file in files if file.mapped} == {"psm_8f2d11a7", "torch_4242_1_0"}
    assert all(file.mapped is not None for file in files)


@pytest.fixture
def path() -> Iterator[Path]:
    """A file of a server in this machine's /dev/shm."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("/dev/shm cannot be written")
    made = Path(f"/dev/shm/psm_{secrets.token_hex(4)}")
    made.write_bytes(bytes(8192))
    yield made
    made.unlink(missing_ok=True)


def used(look: Any, path: Path) -> SharedFile:
    found: dict[str, SharedFile] = {file.name: file for file in look(SharedMemory(mapped=True)).files}
    return found[path.name]


def test_this_machine(look: Any, path: Path) -> None:
    found = used(look, path)
    assert (found.kind, found.size, found.mapped) == ("python", 8192, False)
    with path.open("rb"):
        assert used(look, path).mapped is True


@pytest.mark.parametrize("closed", [True, False], ids=["mapped and closed", "open only"])
def test_a_file_that_a_process_uses_under_another_name_is_in_use(look: Any, path: Path, closed: bool) -> None:
    """As a container with ``-v /dev/shm:/x`` does."""
    other = path.with_name(f"other_{secrets.token_hex(4)}")
    other.hardlink_to(path)
    with other.open("rb") as file, ExitStack() as stack:
        stack.callback(other.unlink)
        if closed:
            stack.enter_context(mapped(file.fileno()))
            file.close()
        assert used(look, path).mapped is True
    assert used(look, path).mapped is False


@contextmanager
def mapped(number: int) -> Iterator[None]:
    """The file mapped by this process, with no descriptor of its own as Python's ``mmap`` keeps one."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    place = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, number, 0)
    try:
        yield
    finally:
        libc.munmap(place, 4096)


def test_none() -> None:
    value = SharedMemory().parse(Result("shared-memory", 0, "@@ count\n0\n@@ files\n"))
    assert (value.files, value.count, value.problems) == ((), 0, ())
