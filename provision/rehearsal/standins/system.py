"""The small commands of a node: shell scripts (folder ``sh``), because they are called often and start in a millisecond.

Where a command's answer doesn't depend on the node, the machine's own is linked in (``REAL``).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from provision.rehearsal.node import HERE, MARK, ME, Node
from provision.rehearsal.standins.launcher import write_executable
from provision.rehearsal.standins.npu import lock_of

_SCRIPTS = Path(__file__).parent / "sh"

REAL = [
    "[",
    "arch",
    "awk",
    "b2sum",
    "base64",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cksum",
    "clear",
    "cmp",
    "comm",
    "cp",
    "csplit",
    "cut",
    "dd",
    "diff",
    "dirname",
    "du",
    "echo",
    "egrep",
    "env",
    "expand",
    "expr",
    "factor",
    "false",
    "fgrep",
    "find",
    "flock",
    "fmt",
    "fold",
    "gawk",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "install",
    "join",
    "kill",
    "less",
    "link",
    "ln",
    "logname",
    "ls",
    "mawk",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "nice",
    "nl",
    "nohup",
    "numfmt",
    "od",
    "paste",
    "pathchk",
    "pr",
    "printenv",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "shred",
    "shuf",
    "sleep",
    "sort",
    "split",
    "stat",
    "stdbuf",
    "stty",
    "sum",
    "sync",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "tsort",
    "tty",
    "unexpand",
    "uniq",
    "unlink",
    "vdir",
    "wc",
    "which",
    "xargs",
    "xz",
    "yes",
    "zcat",
]
"""The machine's own programs that a node has: coreutils and what stands beside them on every server. Where folder ``sh``
has one of the same name, that one is taken."""

_MACHINES = ("ssh",)
"""Commands of the folder that are nothing without the machine's own: a node lacks them where the machine does."""

KERNEL = "5.10.0-216.0.0.115.oe2203sp4"


def write_scripts(node: Node, folder: str, *, arch: str, cpus: int) -> None:
    """Put all small commands into ``folder``; hccn_tool goes where the driver has it."""
    values = _values(node, arch, cpus)
    for name, text in _texts().items():
        target = f"{node.root}/usr/local/Ascend/driver/tools" if name == "hccn_tool" else folder
        if (name != "hccn_tool" or node.is_npu) and (name not in _MACHINES or _found(name)):
            os.makedirs(target, exist_ok=True)
            write_executable(os.path.join(target, name), _filled(text, {**values, "real": _found(name) or "false"}))


def link_real(node: Node, folder: str) -> None:
    """Give ``folder`` the machine's own programs; one that the machine lacks the node lacks too.

    They are symbolic links, made once for all nodes: a further name of a link costs a tenth of a new one.
    """
    if not os.path.isdir(node.programs):
        os.makedirs(node.programs)
        for name in REAL:
            if found := _found(name):
                os.symlink(found, os.path.join(node.programs, name))
    here, there = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (node.programs, folder))
    try:
        for name in set(os.listdir(here)) - set(os.listdir(there)):
            os.link(name, name, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
    finally:
        os.close(here)
        os.close(there)


def login_environment(node: Node, user: str) -> dict[str, str]:
    """What a session of ``user`` begins with."""
    home = f"{node.root}/root" if user == "root" else f"{node.root}/home/{user}"
    return {
        "PATH": node.path,
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": f"{node.root}/bin/sh",
        "TMPDIR": f"{node.root}/tmp",
        "LANG": "C.UTF-8",
        MARK: node.cluster_folder,
        HERE: node.name,
        ME: user,
    }


@cache
def _found(name: str) -> str | None:
    """Where the machine has a program: looked up once for all nodes."""
    found = shutil.which(name)
    return found and os.path.abspath(found)


@cache
def _texts() -> dict[str, str]:
    """All small commands, by name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(_SCRIPTS.glob("*.sh"))}


def _filled(text: str, values: Mapping[str, str]) -> str:
    """The script with every ``@word@`` of ``values`` replaced."""
    for word, value in values.items():
        text = text.replace(f"@{word}@", value)
    return text


def _values(node: Node, arch: str, cpus: int) -> dict[str, str]:
    return {
        "state": node.state.folder,
        "root": node.root,
        "nodes": os.path.dirname(node.folder),
        "name": node.name,
        "number": str(node.number),
        "address": node.address,
        "dies": str(node.dies),
        "chips": "2" if node.on_a3 else "1",
        "lock": lock_of(node),
        "processes": os.path.join(node.folder, "processes"),
        "kernel": f"{KERNEL}.{arch}",
        "arch": arch,
        "cpus": str(cpus),
        "me": ME,
    }
