"""``python3`` of a node: the real interpreter, whose sockets are the node's. It begins as fast as any other stand-in."""

from __future__ import annotations

import os
import re
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.standins.faulty import maybe_hang
from provision.rehearsal.standins.interpreter import run

_VERSION = "3.11.6"
_SPEAKS = re.compile(r"\b(socket|asyncio|http|urllib|ssl|selectors|xmlrpc|ftplib)")


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one program."""
    maybe_hang(node, "python3")
    _find_site(sys.argv[0])

    def prepare(text: str) -> None:
        if _SPEAKS.search(text):
            from provision.rehearsal.standins.sockets import install

            install(node)

    return run(argv, node.root, _VERSION, prepare)


def _find_site(program: str) -> None:
    """What a virtual environment brings, when the interpreter was called by that one's path."""
    folder = os.path.join(os.path.dirname(os.path.dirname(program)), "lib", "python3.11", "site-packages")
    if os.path.isdir(folder):
        sys.path.append(folder)
