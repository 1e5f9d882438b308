"""The ``vllm`` command of a container: ``serve``, ``--version``, ``bench serve``."""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import CONTAINER, Node
from provision.rehearsal.rewrite import unmap
from provision.rehearsal.standins.packages import container, filesystem, versions

_USAGE = "usage: vllm [-h] [-v] {chat,complete,serve,bench,collect-env,run-batch} ..."


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one vllm command."""
    if CONTAINER not in os.environ:
        _be_native(node)
    if argv[:1] in (["--version"], ["-v"]):
        sys.stdout.write(versions(node, str(container().config["image"]))["vllm"] + "\n")
        return 0
    if argv[:1] == ["serve"]:
        from provision.rehearsal.standins.vllm.serve import serve

        # A shell of the container, or of the node, has mapped the paths in its text.
        return serve(node, [unmap(unmap(word, filesystem()), node.root) for word in argv[1:]])
    sys.stderr.write(f"{_USAGE}\nvllm: error: argument subparser: invalid choice: {' '.join(argv[:1])!r}\n")
    return 2


def _be_native(node: Node) -> None:
    """The command of a virtual environment: its packages are those that pip has put there."""
    from provision.rehearsal.standins import native
    from provision.rehearsal.standins.venv import pip

    native.enter(node, pip.Venv(os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0])))).versions)
