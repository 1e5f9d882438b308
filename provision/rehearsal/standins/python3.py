"""``python3`` of a node: the real interpreter, whose sockets are the node's. It begins as fast as any other stand-in."""

from __future__ import annotations

import os
import re
import sys
from types import ModuleType
from typing import NamedTuple

from provision.rehearsal.node import Node
from provision.rehearsal.standins.faulty import maybe_hang
from provision.rehearsal.standins.interpreter import run

_VERSION = "3.11.6"
_SPEAKS = re.compile(r"\b(socket|asyncio|http|urllib|ssl|selectors|xmlrpc|ftplib)")


class _Version(NamedTuple):
    """What ``sys.version_info`` is."""

    major: int
    minor: int
    micro: int
    releaselevel: str = "final"
    serial: int = 0


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one program."""
    maybe_hang(node, "python3")
    _find_site(sys.argv[0])
    if argv[:2] == ["-m", "venv"] and len(argv) > 2:
        from provision.rehearsal.standins.venv.python import make

        return make(node, argv[-1])

    def prepare(text: str) -> None:
        pretend_version(node, text)
        if _SPEAKS.search(text):
            from provision.rehearsal.standins.sockets import install

            install(node)

    return run(argv, node.root, version_of(node), prepare)


def version_of(node: Node) -> str:
    """The node's Python; ``python/version`` is the fault of another one."""
    return node.state.get("python/version", _VERSION)


def pretend_version(node: Node, text: str) -> None:
    """Tell the node's version, its folder of headers, and that it can make virtual environments: this interpreter's own
    may be another, or lack them."""
    if "version_info" in text:
        major, minor, micro = (int(word) for word in version_of(node).split("."))
        # The real type can't be made; programs compare it and read its fields, as they can of this one.
        sys.version_info = _Version(major, minor, micro)  # type: ignore[assignment]
    if "sysconfig" in text:
        import sysconfig

        folder = f"{node.root}/usr/include/python3.11"
        sysconfig.get_path = lambda *words, **options: folder
    if "ensurepip" in text:
        sys.modules.setdefault("ensurepip", ModuleType("ensurepip"))
        sys.modules.setdefault("venv", ModuleType("venv"))


def _find_site(program: str) -> None:
    """What a virtual environment brings, when the interpreter was called by that one's path."""
    folder = os.path.join(os.path.dirname(os.path.dirname(program)), "lib", "python3.11", "site-packages")
    if os.path.isdir(folder):
        sys.path.append(folder)
