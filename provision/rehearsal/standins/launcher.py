"""Makes the small files in a node's ``bin``: each starts one stand-in in an isolated, fast interpreter.

``-I -S -E`` leaves out site-packages, the environment and the current folder: start-up falls from 20 to 7 ms, and no
setting of whoever runs the rehearsal can break a stand-in. Compiled code goes to the cluster's folder.
"""

from __future__ import annotations

import os

_LAUNCHER = """#!{interpreter}
import sys
sys.pycache_prefix = {cache!r}
sys.path.insert(0, {code!r})
from provision.rehearsal.node import Node
from provision.rehearsal.standins.{module} import main
sys.exit(main(Node({node!r}), {name!r}, sys.argv[1:]))
"""

_SHEBANG_LIMIT = 120


def write_launcher(folder: str, name: str, module: str, *, node: str, python: str, code: str, cache: str) -> None:
    """Write the command ``name`` into ``folder``: it calls ``main(node, name, argv)`` of the stand-in ``module``."""
    interpreter = f"{python} -ISE"
    text = _LAUNCHER.format(interpreter=interpreter, cache=cache, code=code, module=module, node=node, name=name)
    path = os.path.join(folder, name)
    if len(interpreter) > _SHEBANG_LIMIT or " " in python:
        write_executable(path + ".py", text)
        text = f"#!/bin/sh\nexec '{python}' -ISE '{path}.py' \"$@\"\n"
    write_executable(path, text)


def write_executable(path: str, text: str) -> None:
    """Write a program file."""
    write_file(path, text, 0o755)


def write_file(path: str, text: str, mode: int = 0o644) -> None:
    """Write a small file with as few calls as it takes: a cluster has thousands."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
